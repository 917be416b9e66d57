"""A residual network of three stages, with Dropout2d inside each block (blocks as in arXiv 1512.03385, figure 2).

    conv/kernel [3, 3, 3, w]      norm/{scale, bias}                              (w = 64)
    stage1_block1/{conv1/kernel, norm1/..., conv2/kernel, norm2/...}  ...
    stage2_block1/{..., shortcut/kernel, shortcut_norm/...}           (the first blocks of stages 2 and 3)
    head/{kernel [4w, out], bias}

Each stage after the first halves the image and doubles the channels. Convolutions have a bias if there is no
normalization.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from adaptface_jax.models.layers.activations import ACTIVATIONS
from adaptface_jax.models.layers.batch_norm import BatchNorm
from adaptface_jax.models.layers.conv import Conv
from adaptface_jax.models.layers.dropout import dropout
from adaptface_jax.models.layers.output import Output


class Block(nnx.Module):
    """act(shortcut(x) + norm(conv(dropout(act(norm(conv(x)))))))."""

    def __init__(
        self,
        din: int,
        dout: int,
        stride: int,
        *,
        activation: str,
        batch_norm: bool,
        residual: bool,
        dropout: float,
        rngs: nnx.Rngs,
    ) -> None:
        def norm() -> BatchNorm | None:
            return BatchNorm(dout) if batch_norm else None

        bias = not batch_norm
        self.conv1, self.norm1 = Conv(din, dout, stride=stride, use_bias=bias, rngs=rngs), norm()
        self.conv2, self.norm2 = Conv(dout, dout, use_bias=bias, rngs=rngs), norm()
        changes = residual and (stride != 1 or din != dout)
        self.shortcut = Conv(din, dout, 1, stride=stride, use_bias=bias, rngs=rngs) if changes else None
        self.shortcut_norm = norm() if changes else None
        self.activation, self.residual, self.dropout = activation, residual, dropout

    def __call__(self, x: jax.Array, key: jax.Array | None, by_image: bool = False) -> jax.Array:
        act, training = ACTIVATIONS[self.activation], key is not None
        y = act(_normalized(self.norm1, self.conv1(x, by_image), training))
        y = _normalized(self.norm2, self.conv2(dropout(y, self.dropout, key), by_image), training)
        if not self.residual:
            return act(y)
        if self.shortcut is not None:
            x = _normalized(self.shortcut_norm, self.shortcut(x, by_image), training)
        return act(x + y)


class ResNet(nnx.Module):
    """Images [B, S, S, 3], normalized -> logits float32 [B, outputs]."""

    def __init__(
        self,
        outputs: int,
        *,
        width: int,
        blocks: Sequence[int],
        activation: str,
        batch_norm: bool,
        residual: bool,
        dropout: float,
        rngs: nnx.Rngs,
    ) -> None:
        self.conv = Conv(3, width, use_bias=not batch_norm, rngs=rngs)
        self.norm = BatchNorm(width) if batch_norm else None
        build = functools.partial(
            Block, activation=activation, batch_norm=batch_norm, residual=residual, dropout=dropout, rngs=rngs
        )
        # Attributes and not lists: parameter names are strings.
        self.blocks = tuple(f"stage{i + 1}_block{j + 1}" for i, count in enumerate(blocks) for j in range(count))
        din = width
        for name in self.blocks:
            stage, first = int(name[5]), name.endswith("_block1")
            dout = width * 2 ** (stage - 1)
            setattr(self, name, build(din, dout, 2 if stage > 1 and first else 1))
            din = dout
        self.head = Output(din, outputs, rngs=rngs)
        self.activation = activation

    def __call__(self, images: jax.Array, key: jax.Array | None, by_image: bool = False) -> jax.Array:
        """key: for dropout, in training; None at inference. by_image: see Conv."""
        x = ACTIVATIONS[self.activation](_normalized(self.norm, self.conv(images, by_image), key is not None))
        for number, name in enumerate(self.blocks):
            x = getattr(self, name)(x, None if key is None else jax.random.fold_in(key, number), by_image)
        return self.head(jnp.mean(x.astype(jnp.float32), axis=(1, 2)))


def _normalized(norm: BatchNorm | None, x: jax.Array, training: bool) -> jax.Array:
    return x if norm is None else norm(x, training)
