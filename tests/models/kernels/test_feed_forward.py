# SPDX-License-Identifier: Apache-2.0
"""The feed-forward half with its gradient's kernel, interpreted, equals the plain one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.models.kernels.feed_forward import Form, Tiles, feed_forward, fits
from adaptface_jax.models.layers.mlp import ACTIVATIONS

WIDTH, HIDDEN = 32, 128


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu", "gelu_tanh"])
@pytest.mark.parametrize("rows", [48, 37])  # whole tiles, and not
def test_equals_the_plain_form(activation: str, rows: int) -> None:
    rng = np.random.default_rng(0)
    n, w1, b1, w2, dy = (
        jnp.asarray(rng.normal(size=shape), jnp.float32)
        for shape in ((rows, WIDTH), (WIDTH, HIDDEN), (HIDDEN,), (HIDDEN, WIDTH), (rows, WIDTH))
    )
    form = Form(activation, interpret=True, tiles=Tiles(16, 32, 16))
    with jax.default_matmul_precision("highest"):
        y, pull = jax.vjp(lambda n: feed_forward(form, n, w1, b1, w2), n)
        expected, right = jax.vjp(lambda n: ACTIVATIONS[activation](n @ w1 + b1) @ w2, n)
        (found,), (wanted,) = pull(dy), right(dy)
        only = feed_forward(form, n, w1, b1, w2)
    np.testing.assert_allclose(only, y, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-4)
    assert np.linalg.norm(found - wanted) < 1e-5 * np.linalg.norm(wanted)


def test_the_weights_are_frozen() -> None:
    n, w1, b1, w2 = jnp.ones((16, 64)), jnp.ones((64, 128)), jnp.ones(128), jnp.ones((128, 64))
    form = Form("gelu", interpret=True)
    gradients = jax.grad(lambda *weights: jnp.sum(feed_forward(form, n, *weights)), argnums=(0, 1, 2))(w1, b1, w2)
    assert not any(np.any(each) for each in gradients)


def test_which_weights_its_tiles_fill() -> None:
    assert all(fits(width, 4 * width) for width in (384, 768, 1024, 1536))
    assert not fits(1408, 6144 + 64)
