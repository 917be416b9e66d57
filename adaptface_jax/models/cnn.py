"""A small plain network for attributes: three convolutions, each normalized, and the mean over the image.

conv1/{kernel [3, 3, 3, w], bias}    norm1/{scale, bias}    head/{kernel [channels, out], bias}    (w = 64)
conv2/{kernel [3, 3, w, 2w], ...}    norm2/...
conv3/{kernel [3, 3, 2w, channels]}  norm3/...
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from adaptface_jax.models.layers.activations import ACTIVATIONS
from adaptface_jax.models.layers.batch_norm import BatchNorm
from adaptface_jax.models.layers.conv import Conv, max_pool
from adaptface_jax.models.layers.dropout import dropout
from adaptface_jax.models.layers.output import Output


class Cnn(nnx.Module):
    """Images [B, S, S, 3], normalized -> logits float32 [B, outputs]."""

    def __init__(
        self, outputs: int, *, width: int, channels: int, activation: str, dropout: float, rngs: nnx.Rngs
    ) -> None:
        self.conv1, self.norm1 = Conv(3, width, use_bias=True, rngs=rngs), BatchNorm(width)
        self.conv2, self.norm2 = Conv(width, 2 * width, use_bias=True, rngs=rngs), BatchNorm(2 * width)
        self.conv3, self.norm3 = Conv(2 * width, channels, use_bias=True, rngs=rngs), BatchNorm(channels)
        self.head = Output(channels, outputs, rngs=rngs)
        self.activation, self.dropout = activation, dropout

    def __call__(self, images: jax.Array, key: jax.Array | None, by_image: bool = False) -> jax.Array:
        """key: for dropout, in training; None at inference. by_image: see Conv."""
        act, training = ACTIVATIONS[self.activation], key is not None
        x = max_pool(act(self.norm1(self.conv1(images, by_image), training)))
        x = max_pool(act(self.norm2(self.conv2(x, by_image), training)))
        x = act(self.norm3(self.conv3(x, by_image), training))
        return self.head(dropout(jnp.mean(x.astype(jnp.float32), axis=(1, 2)), self.dropout, key))
