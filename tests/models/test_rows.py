# SPDX-License-Identifier: Apache-2.0
"""Sums and largest values of rows by slices are those of the rows, and so is a norm made of them."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from adaptface_jax.models.layers.norm import LayerNorm
from adaptface_jax.models.layers.rows import COLUMNS, column_sum, row_max, row_sum

SUM, MAX, COLUMN_SUM = jax.jit(row_sum), jax.jit(row_max), jax.jit(column_sum)


@hypothesis.settings(max_examples=20)
@hypothesis.given(width=st.sampled_from([1, 31, 32, 33, 63, 64, 65, 96, 257, 384, 400]), seed=st.integers(0, 99))
def test_they_are_the_sum_and_the_largest_value(width, seed):
    x = np.random.default_rng(seed).standard_normal((3, width), np.float32)
    exact = x.astype(np.float64).sum(axis=-1, keepdims=True)
    assert np.abs(SUM(x) - exact).max() <= 3e-7 * np.abs(x).sum(axis=-1).max()
    np.testing.assert_array_equal(MAX(x), x.max(axis=-1, keepdims=True))
    columns = np.moveaxis(np.stack([x, -x, 2 * x]), -1, -2)
    by_column = COLUMN_SUM(columns)
    assert by_column.shape == (3, 1, 3)
    assert np.abs(by_column - np.stack([exact, -exact, 2 * exact]).swapaxes(-1, -2)).max() <= 6e-7 * np.abs(x).sum()


@pytest.mark.parametrize("place", [0, 40, 255, 256])
def test_the_largest_value_and_what_is_not_a_number_are_found_wherever_they_are(place):
    x = np.full((2, 257), -np.inf, np.float32)
    x[0, place], x[1, place] = -3.0, np.nan
    assert MAX(x)[0, 0] == -3.0
    assert np.isnan(MAX(x)[1, 0]) and np.isnan(SUM(x)[1, 0])


def test_no_more_than_a_slice_and_the_rest_is_reduced_value_by_value():
    text = SUM.lower(jnp.zeros((3, 257))).as_text()
    reduced = [line for line in text.splitlines() if "stablehlo.reduce" in line]
    assert len(reduced) == 2
    assert all(f"tensor<3x{COLUMNS}xf32>" in line or "tensor<3x1xf32>" in line for line in reduced)


def test_a_norm_and_its_gradients_are_the_same_in_both_forms():
    rng = np.random.default_rng(0)
    x, dy = (3 + 2 * rng.standard_normal((2, 5, 400), np.float32) for _ in range(2))
    norm = LayerNorm(400, 1e-6)
    norm.scale[...], norm.bias[...] = (jnp.asarray(rng.standard_normal(400), jnp.float32) for _ in range(2))
    graph, state = nnx.split(norm)

    @jax.jit
    def results(state, x, dy):
        pairs = [jax.vjp(lambda s, x, cpu=cpu: nnx.merge(graph, s)(x, cpu), state, x) for cpu in (True, False)]
        return [(y, *jax.tree.leaves(pull(dy))) for y, pull in pairs]

    found, expected = results(state, x, dy)
    assert len(found) == 4
    for a, b in zip(found, expected, strict=True):
        assert jnp.linalg.norm(a - b) < 1e-6 * jnp.linalg.norm(b)
