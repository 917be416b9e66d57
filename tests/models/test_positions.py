"""Positions at another grid equal torch's bicubic interpolation by each of the three rules."""

from __future__ import annotations

import numpy as np
import pytest

from adaptface_jax.core.errors import InputError
from adaptface_jax.models.positions import resize_positions
from adaptface_jax.models.specs import POSITION_RULES


@pytest.mark.parametrize("native", [5, 37])
@pytest.mark.parametrize("grid", [3, 8, 16, 40])
@pytest.mark.parametrize("rule", POSITION_RULES)
def test_equals_torch(goldens, rule, grid, native):
    with np.load(goldens / "positions.npz") as arrays:
        positions, expected = arrays[f"native_{native}"], arrays[f"{rule}_{native}_{grid}"]
    resized = resize_positions(positions, grid, POSITION_RULES[rule])
    assert resized.dtype == np.float32
    np.testing.assert_array_equal(resized[:, :1], positions[:, :1])
    np.testing.assert_allclose(resized[:, 1:], expected, rtol=0, atol=5e-6)


def test_the_rules_differ_as_their_sources_do(goldens):
    with np.load(goldens / "positions.npz") as arrays:
        original, hf, timm = (arrays[f"{rule}_37_16"] for rule in POSITION_RULES)
    assert np.linalg.norm(hf - original) > 0.05 * np.linalg.norm(original)
    assert np.linalg.norm(timm - original) > 0.1 * np.linalg.norm(original)


@pytest.mark.parametrize("rule", POSITION_RULES)
def test_the_native_grid_is_untouched(rule):
    positions = np.random.default_rng(0).standard_normal((1, 50, 4)).astype(np.float32)
    np.testing.assert_array_equal(resize_positions(positions, 7, POSITION_RULES[rule]), positions)


@pytest.mark.parametrize("rule", POSITION_RULES)
@pytest.mark.parametrize("grid", [1, 2, 5, 50])
def test_a_constant_grid_stays_constant(rule, grid):
    resized = resize_positions(np.full((1, 50, 3), 2.5, np.float32), grid, POSITION_RULES[rule])
    np.testing.assert_allclose(resized, np.full((1, 1 + grid * grid, 3), 2.5), rtol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 3, 49])
def test_positions_that_are_not_square_are_refused(count):
    with pytest.raises(InputError, match="not a square grid"):
        resize_positions(np.zeros((1, count, 4), np.float32), 4, POSITION_RULES["bicubic"])
