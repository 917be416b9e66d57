# SPDX-License-Identifier: Apache-2.0
"""The feed-forward half of a block: two layers, or SwiGLU."""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import nnx

from adaptface_jax.models.layers.activations import gelu, gelu_tanh, quick_gelu
from adaptface_jax.models.layers.dense import Dense
from adaptface_jax.models.layers.low_rank import Adaptation
from adaptface_jax.models.layers.remat import kept

# The activations of the backbones.
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": gelu,
    "quick_gelu": quick_gelu,
    "gelu_tanh": gelu_tanh,
    "relu6": jax.nn.relu6,
}


class Mlp(nnx.Module):
    """Adapter targets: `fc1`, `fc2`. With `gated`, fc1 gives both halves of silu(first) * second (SwiGLU)."""

    def __init__(self, dim: int, hidden: int, *, activation: str, gated: bool, rngs: nnx.Rngs):
        self.fc1 = Dense(dim, 2 * hidden if gated else hidden, rngs=rngs)
        self.fc2 = Dense(hidden, dim, rngs=rngs)
        self.activation = activation
        self.gated = gated

    def __call__(self, x: jax.Array, adaptation: Adaptation | None = None, cpu: bool = False) -> jax.Array:
        """cpu: as for `LayerNorm`."""
        hidden = kept(self.fc1(x, adaptation, "fc1", cpu))
        if self.gated:
            first, second = jax.numpy.split(hidden, 2, axis=-1)
            hidden = jax.nn.silu(first) * second
        else:
            hidden = ACTIVATIONS[self.activation](hidden)
        return self.fc2(hidden, adaptation, "fc2", cpu)
