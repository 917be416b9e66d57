# SPDX-License-Identifier: Apache-2.0
"""A junction equals the plain operations, in values and gradients, whatever the sizes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.models.kernels.junction import Form, Norm, Projection, Update, extended, junction

IMAGES, EPS = 3, 1e-6


def plain(form: Form, x: Any, p: Any, bias: Any, update: Any, norm: Any, projection: Any) -> Any:
    """The same in plain operations."""
    width = x.shape[1]

    def gated(hidden: jax.Array, gate: jax.Array | None) -> jax.Array:
        return hidden if gate is None else hidden * jnp.repeat(gate, form.tokens, axis=0)

    s = x
    if p is not None:
        s = s + p[:, :width] + bias
        if update is not None:
            s = s + gated(p[:, width:], update.gate) @ update.b
    mean = jnp.mean(s, axis=1, keepdims=True)
    n = (s - mean) / jnp.sqrt(jnp.var(s, axis=1, keepdims=True) + form.eps) * norm.scale + norm.shift
    if projection is None:
        return s, n
    hidden = gated(n @ projection.a, projection.gate)
    one = jnp.zeros((len(n), extended(width, hidden.shape[1]) - width - hidden.shape[1])).at[:, 0].set(1)
    return s, jnp.concatenate([n, hidden, one], axis=1)


def problem(width: int, tokens: int, ending: int, starting: int, gates: bool, first: bool) -> tuple:
    rng = np.random.default_rng(0)
    rows = IMAGES * tokens

    def of(*shape: int) -> jax.Array:
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    gate = of(IMAGES, ending), of(IMAGES, starting)
    update = Update(of(ending, width) / 4, gate[0] if gates else None) if ending else None
    projection = Projection(of(width, starting) / 10, gate[1] if gates else None) if starting else None
    p = None if first else of(rows, width + ending)
    return 3 * of(rows, width) + 1, p, None if first else of(width), update, Norm(of(width), of(width)), projection


@pytest.mark.parametrize(
    ("width", "tokens", "ending", "starting", "gates", "first"),
    [
        (48, 5, 0, 0, False, True),
        (48, 5, 0, 24, False, True),
        (48, 5, 8, 0, False, False),
        (48, 5, 0, 48, True, False),
        (32, 11, 16, 72, True, False),
        (40, 7, 80, 8, False, False),
        (32, 17, 24, 40, True, False),  # a program has rows of two images at most
    ],
)
def test_equals_the_plain_form(width: int, tokens: int, ending: int, starting: int, gates: bool, first: bool) -> None:
    form = Form(tokens, EPS, forward=(16, 96), backward=(16, 96), interpret=True)
    arguments = problem(width, tokens, ending, starting, gates, first)
    with jax.default_matmul_precision("highest"):
        s, n, low = junction(form, *arguments)
        expected, pull = jax.vjp(lambda *given: plain(form, *given), *arguments)
        ours = jax.vjp(lambda *given: junction(form, *given)[:2], *arguments)[1]
        rng = np.random.default_rng(1)
        cotangents = tuple(jnp.asarray(rng.normal(size=each.shape), jnp.float32) for each in expected)
        # Of the columns after the projection nothing depends on the inputs.
        found, wanted = ours(cotangents), pull(cotangents)
    np.testing.assert_allclose(s, expected[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(n, expected[1], rtol=1e-5, atol=1e-5)
    if starting:
        np.testing.assert_array_equal(low, n[:, width : width + starting])
    for which in (0, 1, 3, 5):  # bias and norm are frozen
        for a, b in zip(jax.tree.leaves(found[which]), jax.tree.leaves(wanted[which]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * float(jnp.max(jnp.abs(b))))
