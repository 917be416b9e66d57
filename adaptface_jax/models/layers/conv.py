"""Convolution and pooling over NHWC images, as torch pads them."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

# XLA for CPUs computes the gradient of a kernel as a convolution with image-sized windows, at a tenth of the speed of
# a matrix product. So here it uses such products, image by image, while the patches of one are in the cache.


class Conv(nnx.Module):
    """A square convolution with odd `size`, padded by size // 2: [B, H, W, din] -> [B, H / stride, W / stride, dout].

    Kernel and bias start uniform in +-1 / sqrt(fan in), as torch.nn.Conv2d's.
    """

    def __init__(self, din: int, dout: int, size: int = 3, *, stride: int = 1, use_bias: bool, rngs: nnx.Rngs):
        bound = 1 / math.sqrt(size * size * din)
        first, second = rngs.params(), rngs.params()
        self.kernel = nnx.Param(jax.random.uniform(first, (size, size, din, dout), minval=-bound, maxval=bound))
        self.bias = nnx.Param(jax.random.uniform(second, (dout,), minval=-bound, maxval=bound)) if use_bias else None
        self.stride = stride

    def __call__(self, x: jax.Array, by_image: bool = False) -> jax.Array:
        """by_image: compute the kernel's gradient image by image, which is faster on a CPU."""
        kernel = self.kernel[...].astype(x.dtype)
        if kernel.shape[0] == 1:
            y = x[:, :: self.stride, :: self.stride] @ kernel[0, 0]
        else:
            y = (_conv_by_image if by_image else _conv)(x, kernel, self.stride)
        return y if self.bias is None else y + self.bias[...].astype(x.dtype)


def max_pool(x: jax.Array) -> jax.Array:
    """The largest of every 2 x 2 pixels: [B, H, W, C] -> [B, H // 2, W // 2, C]."""
    batch, height, width, channels = x.shape
    even = x[:, : height // 2 * 2, : width // 2 * 2]
    cells = even.reshape(batch, height // 2, 2, width // 2, 2, channels)
    # XLA's own pooling takes a third of a small network's step on a CPU, its gradient most of it.
    rows = jnp.maximum(cells[:, :, 0], cells[:, :, 1])
    return jnp.maximum(rows[:, :, :, 0], rows[:, :, :, 1])


def _conv(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    pad = kernel.shape[0] // 2
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), ((pad, pad), (pad, pad)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv_by_image(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    return _conv(x, kernel, stride)


def _forward(x: jax.Array, kernel: jax.Array, stride: int) -> tuple[jax.Array, Any]:
    return _conv(x, kernel, stride), (x, kernel)


def _backward(stride: int, kept: Any, grad: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept
    (into_x,) = jax.linear_transpose(lambda image: _conv(image, kernel, stride), x)(grad)
    return into_x, kernel_gradient(x, grad, kernel.shape[0], stride)


_conv_by_image.defvjp(_forward, _backward)


def kernel_gradient(x: jax.Array, grad: jax.Array, size: int, stride: int) -> jax.Array:
    """The gradient [size, size, din, dout] from input [B, H, W, din] and output gradient [B, H', W', dout]."""
    _, height, width, dout = grad.shape
    din, pad = x.shape[3], size // 2

    def add(total: jax.Array, one: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        image = jnp.pad(one[0], ((pad, pad), (pad, pad), (0, 0)))
        columns = jnp.concatenate([image[:, j : j + stride * width : stride] for j in range(size)], axis=-1)
        flat = one[1].reshape(-1, dout)
        rows = [columns[i : i + stride * height : stride].reshape(-1, size * din).T @ flat for i in range(size)]
        return total + jnp.stack(rows), None

    total, _ = jax.lax.scan(add, jnp.zeros((size, size * din, dout), grad.dtype), (x, grad))
    return total.reshape(size, size, din, dout)
