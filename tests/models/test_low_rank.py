# SPDX-License-Identifier: Apache-2.0
"""The low-rank update in the form for CPUs is the same update."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.models.layers.low_rank import Adaptation

NAMES = ("q", "k", "v")


@pytest.mark.parametrize("tokens", [5, 100])
def test_updates_and_gradients_of_both_forms_are_equal(tokens):
    rng = np.random.default_rng(0)

    def drawn(*shape):
        return jnp.float32(rng.standard_normal(shape))

    layers = {name: {"a": drawn(24, 6), "b": drawn(6, width)} for name, width in zip(NAMES, (24, 8, 24), strict=True)}
    x, gate = drawn(3, tokens, 24), drawn(3, 6)
    dys = {name: drawn(3, tokens, factors["b"].shape[1]) for name, factors in layers.items()}

    def gradients(cpu):
        def update(layers, gate, x):
            return Adaptation(layers, gate, scale=0.5).deltas(x, NAMES, cpu)

        y, pull = jax.vjp(update, layers, gate, x)
        return y, pull(dys)

    found, expected = jax.jit(gradients, static_argnums=0)(True), jax.jit(gradients, static_argnums=0)(False)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape
        assert jnp.linalg.norm(a - b) < 1e-6 * jnp.linalg.norm(b)
    # Computed directly: image 1's gate of rank 2 scales what that rank adds to its tokens.
    directly = sum(
        0.5 * ((x[1] @ factors["a"][:, 2]) @ (dys[name][1] @ factors["b"][2])) for name, factors in layers.items()
    )
    np.testing.assert_allclose(found[1][1][1, 2], directly, rtol=1e-4)
