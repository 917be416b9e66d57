# SPDX-License-Identifier: Apache-2.0
"""The attention of short sequences against the form written out, as an interpreted kernel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.models.kernels.attention import Tiles, attend_packed
from adaptface_jax.models.layers.attend import attend_whole


def plain(qkv, heads, tokens):
    batch, stored, width = qkv.shape
    shape = (batch, tokens, heads, width // 3 // heads)
    q, k, v = (part.reshape(shape) for part in jnp.split(qkv[:, :tokens], 3, axis=-1))
    y = attend_whole(q, k, v).reshape(batch, tokens, -1)
    return jnp.pad(y, ((0, 0), (0, stored - tokens), (0, 0)))


def arrays(stored, heads, dim, dtype=jnp.float32, batch=2):
    keys = jax.random.split(jax.random.key(stored), 2)
    qkv = jax.random.normal(keys[0], (batch, stored, 3 * heads * dim), dtype)
    return qkv, jax.random.normal(keys[1], (batch, stored, heads * dim), dtype)


SIZES = {
    "one odd token and padding": (258, 257, 1, 64),
    "registers": (261, 261, 1, 32),
    "one block": (65, 65, 3, 64),
    "whole blocks and padding": (130, 128, 1, 32),
    "less than a block": (50, 50, 2, 64),
    "less than a block and padding": (56, 50, 1, 16),
    "a block that is not full": (100, 98, 1, 32),
}


@pytest.mark.parametrize(("stored", "tokens", "heads", "dim"), SIZES.values(), ids=SIZES)
def test_it_equals_the_form_written_out(stored, tokens, heads, dim):
    qkv, dy = arrays(stored, heads, dim)
    y, pull = jax.vjp(lambda x: attend_packed(x, heads, tokens, Tiles(), True), qkv)
    expected, expected_pull = jax.vjp(lambda x: plain(x, heads, tokens), qkv)
    np.testing.assert_allclose(y, expected, atol=2e-6)
    np.testing.assert_allclose(pull(dy)[0], expected_pull(dy)[0], atol=5e-6)


@pytest.mark.parametrize("tiles", [Tiles(64, 32, block=64, step=64), Tiles(256, 128, block=128, step=16)])
def test_tiles_do_not_matter(tiles):
    qkv, dy = arrays(257, 1, 16, batch=1)
    y, pull = jax.vjp(lambda x: attend_packed(x, 1, None, tiles, True), qkv)
    expected, expected_pull = jax.vjp(lambda x: attend_packed(x, 1, None, Tiles(), True), qkv)
    np.testing.assert_allclose(y, expected, atol=2e-6)
    np.testing.assert_allclose(pull(dy)[0], expected_pull(dy)[0], atol=5e-6)


def test_padding_does_not_matter_and_has_no_gradient():
    qkv, dy = arrays(66, 1, 16)
    y, pull = jax.vjp(lambda x: attend_packed(x, 1, 65, Tiles(), True), qkv)
    huge = attend_packed(qkv.at[:, 65:].set(1e30), 1, 65, Tiles(), True)
    np.testing.assert_array_equal(y, huge)
    assert not y[:, 65:].any()
    (d,) = pull(dy.at[:, 65:].set(1e30))
    assert not d[:, 65:].any()
    np.testing.assert_array_equal(d, pull(dy)[0])


def test_in_bfloat16_it_is_as_near_to_the_truth_as_the_form_written_out():
    qkv, dy = arrays(257, 1, 64, jnp.bfloat16)
    truth, true_pull = jax.vjp(lambda x: plain(x, 1, 257), qkv.astype(jnp.float32))
    (true_d,) = true_pull(dy.astype(jnp.float32))

    def distances(function):
        y, pull = jax.vjp(function, qkv)
        return [float(jnp.linalg.norm(a - b)) for a, b in ((y, truth), (pull(dy)[0], true_d))]

    found = distances(lambda x: attend_packed(x, 1, None, Tiles(), True))
    for mine, other in zip(found, distances(lambda x: plain(x, 1, 257)), strict=True):
        assert mine < 1.2 * other


def test_scores_of_any_size_are_finite():
    qkv, dy = arrays(65, 1, 16)
    y, pull = jax.vjp(lambda x: attend_packed(x, 1, None, Tiles(), True), 100 * qkv)
    assert jnp.isfinite(y).all()
    assert jnp.isfinite(pull(dy)[0]).all()


@pytest.mark.skipif(jax.__version_info__ >= (0, 11), reason="jax 0.11 lowers it only beside a GPU, with a warning")
def test_it_is_a_kernel_on_gpus():
    qkv, dy = arrays(258, 6, 64, jnp.bfloat16)
    step = jax.jit(lambda x, dy: jax.vjp(lambda x: attend_packed(x, 6, 257), x)[1](dy))
    text = step.trace(qkv, dy).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("stablehlo.custom_call @") == 2
