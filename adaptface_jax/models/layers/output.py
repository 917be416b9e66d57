"""The last layer of a classifier."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx


class Output(nnx.Module):
    """Features float32 [B, din] -> logits float32 [B, outputs].

    It starts near zero, so that a new model is at chance and its first loss is log C (or log 2): a value far from
    that is a mistake in labels or preprocessing, not chance.
    """

    def __init__(self, din: int, outputs: int, *, rngs: nnx.Rngs):
        self.kernel = nnx.Param(0.01 * jax.random.normal(rngs.params(), (din, outputs)))
        self.bias = nnx.Param(jnp.zeros((outputs,)))

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.matmul(x, self.kernel[...], precision=jax.lax.Precision.HIGHEST) + self.bias[...]
