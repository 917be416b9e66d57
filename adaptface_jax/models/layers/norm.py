"""LayerNorm and LayerScale: parameters as NNX modules, arithmetic in the dtype of the tokens."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from adaptface_jax.models.layers.remat import kept


class LayerNorm(nnx.Module):
    """Normalizes the last axis; statistics in float32 whatever the tokens' dtype."""

    def __init__(self, dim: int, eps: float):
        self.scale = nnx.Param(jnp.ones((dim,)))
        self.bias = nnx.Param(jnp.zeros((dim,)))
        self.eps = eps

    def __call__(self, x: jax.Array) -> jax.Array:
        y = standardize(x.astype(jnp.float32), self.eps)
        y = y * self.scale[...].astype(jnp.float32) + self.bias[...].astype(jnp.float32)
        return y.astype(x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def standardize(x: jax.Array, eps: float) -> jax.Array:
    """Zero mean and unit variance over the last axis: a LayerNorm without parameters.

    Its backward pass uses the stored mean and deviation instead of recomputing them from x.
    """
    return _standardize(x, eps)[0]


def _standardize(x: jax.Array, eps: float) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    mean = kept(jnp.mean(x, axis=-1, keepdims=True))
    inverse = kept(jax.lax.rsqrt(jnp.mean(jnp.square(x - mean), axis=-1, keepdims=True) + eps))
    return (x - mean) * inverse, (x, mean, inverse)


def _standardize_backward(eps: float, residuals: tuple[jax.Array, ...], dy: jax.Array) -> tuple[jax.Array]:
    x, mean, inverse = residuals
    y = (x - mean) * inverse
    along = jnp.mean(dy * y, axis=-1, keepdims=True)
    return ((dy - jnp.mean(dy, axis=-1, keepdims=True) - y * along) * inverse,)


standardize.defvjp(_standardize, _standardize_backward)


class LayerScale(nnx.Module):
    """A learned factor per channel on a residual branch (arXiv 2103.17239)."""

    def __init__(self, dim: int):
        self.gamma = nnx.Param(jnp.full((dim,), 1.0))

    def __call__(self, x: jax.Array) -> jax.Array:
        return x * self.gamma[...].astype(x.dtype)
