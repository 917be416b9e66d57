"""Batch normalization, with its running moments as state (arXiv 1502.03167; the rules are torch.nn.BatchNorm2d's)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

EPS = 1e-5
MOMENTUM = 0.1  # of the new moments


class BatchNorm(nnx.Module):
    """Normalizes every channel of [B, H, W, C] by the moments of the batch, or at inference by the running ones.

    The mean over B is over the whole batch, on any number of devices. Moments are float32 for any dtype of x.
    """

    def __init__(self, channels: int):
        self.scale = nnx.Param(jnp.ones((channels,)))
        self.bias = nnx.Param(jnp.zeros((channels,)))
        self.mean = nnx.BatchStat(jnp.zeros((channels,)))
        self.var = nnx.BatchStat(jnp.ones((channels,)))

    def __call__(self, x: jax.Array, training: bool) -> jax.Array:
        """training: also updates the running moments."""
        mean, var = self.mean[...], self.var[...]
        if training:
            values = x.astype(jnp.float32)
            count = values.size // values.shape[-1]
            mean = jnp.mean(values, axis=(0, 1, 2))
            var = jnp.mean(jnp.square(values - mean), axis=(0, 1, 2))
            # The running variance is the unbiased one.
            self._move(jax.lax.stop_gradient(mean), jax.lax.stop_gradient(var) * (count / max(count - 1, 1)))
        factor = self.scale[...] * jax.lax.rsqrt(var + EPS)
        return (x.astype(jnp.float32) * factor + (self.bias[...] - mean * factor)).astype(x.dtype)

    def _move(self, mean: jax.Array, var: jax.Array) -> None:
        self.mean[...] = (1 - MOMENTUM) * self.mean[...] + MOMENTUM * mean
        self.var[...] = (1 - MOMENTUM) * self.var[...] + MOMENTUM * var
