# SPDX-License-Identifier: Apache-2.0
"""LayerNorm and LayerScale: parameters as NNX modules, arithmetic in the dtype of the tokens."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from adaptface_jax.models.layers.remat import kept
from adaptface_jax.models.layers.rows import row_sum


class LayerNorm(nnx.Module):
    """Normalizes the last axis; statistics in float32 whatever the tokens' dtype."""

    def __init__(self, dim: int, eps: float):
        self.scale = nnx.Param(jnp.ones((dim,)))
        self.bias = nnx.Param(jnp.zeros((dim,)))
        self.eps = eps

    def __call__(self, x: jax.Array, cpu: bool = False) -> jax.Array:
        """cpu: in the form that is the fastest on a single CPU device."""
        y = standardize(x.astype(jnp.float32), self.eps, cpu)
        y = y * self.scale[...].astype(jnp.float32) + self.bias[...].astype(jnp.float32)
        return y.astype(x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def standardize(x: jax.Array, eps: float, cpu: bool = False) -> jax.Array:
    """Zero mean and unit variance over the last axis: a LayerNorm without parameters. cpu: as for `LayerNorm`.

    Its backward pass uses the stored mean and deviation instead of recomputing them from x.
    """
    return _standardize(x, eps, cpu)[0]


def _standardize(x: jax.Array, eps: float, cpu: bool) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    mean = kept(_mean(x, cpu))
    inverse = kept(jax.lax.rsqrt(_mean(jnp.square(x - mean), cpu) + eps))
    return (x - mean) * inverse, (x, mean, inverse)


def _standardize_backward(eps: float, cpu: bool, residuals: tuple[jax.Array, ...], dy: jax.Array) -> tuple[jax.Array]:
    x, mean, inverse = residuals
    y = (x - mean) * inverse
    return ((dy - _mean(dy, cpu) - y * _mean(dy * y, cpu)) * inverse,)


def _mean(x: jax.Array, cpu: bool) -> jax.Array:
    return row_sum(x) / x.shape[-1] if cpu else jnp.mean(x, axis=-1, keepdims=True)


standardize.defvjp(_standardize, _standardize_backward)


class LayerScale(nnx.Module):
    """A learned factor per channel on a residual branch (arXiv 2103.17239)."""

    def __init__(self, dim: int):
        self.gamma = nnx.Param(jnp.full((dim,), 1.0))

    def __call__(self, x: jax.Array) -> jax.Array:
        return x * self.gamma[...].astype(x.dtype)
