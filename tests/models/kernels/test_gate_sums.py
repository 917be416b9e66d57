# SPDX-License-Identifier: Apache-2.0
"""The gradient of gates equals plain sums over each image's tokens, whatever the sizes."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.models.kernels.gate_sums import gate_sums


@pytest.mark.parametrize(
    ("images", "tokens", "ranks", "before", "after"),
    [(3, 66, 144, 24, 8), (2, 130, 48, 0, 0), (2, 5, 8, 16, 1), (1, 64, 33, 7, 0)],
)
def test_equals_plain_sums(images: int, tokens: int, ranks: int, before: int, after: int) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(images * tokens, n)).astype(np.float32) for n in (before + ranks + after, ranks))
    expected = (a[:, before : before + ranks] * b).reshape(images, tokens, ranks).sum(axis=1)
    found = gate_sums(jnp.asarray(a), jnp.asarray(b), before, tokens, True)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_products_of_bfloat16_are_summed_in_float32() -> None:
    a = jnp.full((512, 16), 1.0, jnp.bfloat16)
    assert (gate_sums(a, a * 0.0078125, 0, 512, True) == 4.0).all()  # in bfloat16 the sum would stop at 2
