# SPDX-License-Identifier: Apache-2.0
"""Dense layers: a backbone module to which adapters are applied, and a plain pytree for head and router."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from adaptface_jax.models.layers.low_rank import Adaptation
from adaptface_jax.models.layers.product import product
from adaptface_jax.models.quantized import dequantize, quantize


class Dense(nnx.Module):
    """y = x @ kernel + bias, plus the low-rank update of `name` in `adaptation`.

    The kernel may be stored in 8 bits, with a `kernel_scale` (`quantize`); it is read in the dtype of x.
    """

    def __init__(self, din: int, dout: int, *, use_bias: bool = True, rngs: nnx.Rngs):
        # ViT's usual initialization; only used when there are no weights.
        self.kernel = nnx.Param(0.02 * jax.random.truncated_normal(rngs.params(), -2, 2, (din, dout)))
        self.kernel_scale: nnx.Param | None = None
        self.bias = nnx.Param(jnp.zeros((dout,))) if use_bias else None

    def __call__(
        self, x: jax.Array, adaptation: Adaptation | None = None, name: str = "", cpu: bool = False
    ) -> jax.Array:
        """cpu: as for `LayerNorm`."""
        # By the function, not the operator: the ONNX converter maps the one to MatMul, the other to an einsum.
        y = (product if cpu else jnp.matmul)(x, self.weights(x.dtype))
        if self.bias is not None:
            y = y + self.bias[...].astype(y.dtype)
        if adaptation is not None:
            for delta in adaptation.deltas(x, [name], cpu).values():
                y = y + delta
        return y.astype(x.dtype)

    def quantize(self) -> None:
        """Store the kernel as `models.quantized` does."""
        levels, scale = quantize(self.kernel[...])
        self.kernel, self.kernel_scale = nnx.Param(levels), nnx.data(nnx.Param(scale))

    def weights(self, dtype: Any) -> jax.Array:
        """The kernel [in, out] in `dtype`, however it is stored."""
        if self.kernel_scale is None:
            return self.kernel[...].astype(dtype)
        return dequantize(self.kernel[...], self.kernel_scale[...], dtype)


Linear = dict[str, jax.Array]  # {"kernel": [in, out], "bias": [out]}, both trained


def init_linear(key: jax.Array, din: int, dout: int) -> Linear:
    """Kernel and bias uniform in +-1/sqrt(in), float32, as in torch.nn.Linear."""
    bound = 1 / math.sqrt(din)
    first, second = jax.random.split(key)
    return {
        "kernel": jax.random.uniform(first, (din, dout), minval=-bound, maxval=bound),
        "bias": jax.random.uniform(second, (dout,), minval=-bound, maxval=bound),
    }


def linear(params: Linear, x: jax.Array) -> jax.Array:
    """x @ kernel + bias in full float32, even if the hardware would round the factors."""
    return jnp.matmul(x, params["kernel"], precision=jax.lax.Precision.HIGHEST) + params["bias"]
