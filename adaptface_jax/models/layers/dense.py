"""Dense, LayerNorm and LayerScale: parameters as NNX modules, arithmetic in the dtype of the tokens."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from adaptface_jax.models.layers.low_rank import Adaptation


class Dense(nnx.Module):
    """y = x @ kernel + bias, plus the low-rank update that `adaptation` holds under `name`."""

    def __init__(self, din: int, dout: int, *, use_bias: bool = True, rngs: nnx.Rngs):
        # ViT's usual initialisation; only seen when there are no weights.
        self.kernel = nnx.Param(0.02 * jax.random.truncated_normal(rngs.params(), -2, 2, (din, dout)))
        self.bias = nnx.Param(jnp.zeros((dout,))) if use_bias else None

    def __call__(self, x: jax.Array, adaptation: Adaptation | None = None, name: str = "") -> jax.Array:
        y = x @ self.kernel[...].astype(x.dtype)
        if self.bias is not None:
            y = y + self.bias[...].astype(x.dtype)
        if adaptation is not None:
            for delta in adaptation.deltas(x, [name]).values():
                y = y + delta
        return y


class LayerNorm(nnx.Module):
    """Normalises the last axis; statistics in float32 whatever the tokens' dtype."""

    def __init__(self, dim: int, eps: float):
        self.scale = nnx.Param(jnp.ones((dim,)))
        self.bias = nnx.Param(jnp.zeros((dim,)))
        self.eps = eps

    def __call__(self, x: jax.Array) -> jax.Array:
        y = standardize(x.astype(jnp.float32), self.eps)
        y = y * self.scale[...].astype(jnp.float32) + self.bias[...].astype(jnp.float32)
        return y.astype(x.dtype)


def standardize(x: jax.Array, eps: float) -> jax.Array:
    """Zero mean and unit variance over the last axis: a LayerNorm without parameters."""
    mean = jnp.mean(x, axis=-1, keepdims=True)
    centred = x - mean
    return centred * jax.lax.rsqrt(jnp.mean(jnp.square(centred), axis=-1, keepdims=True) + eps)


class LayerScale(nnx.Module):
    """A learned factor per channel on a residual branch (arXiv 2103.17239)."""

    def __init__(self, dim: int):
        self.gamma = nnx.Param(jnp.full((dim,), 1.0))

    def __call__(self, x: jax.Array) -> jax.Array:
        return x * self.gamma[...].astype(x.dtype)
