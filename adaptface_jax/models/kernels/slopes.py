# SPDX-License-Identifier: Apache-2.0
"""Activation functions with their derivatives, in the few instructions that the end of a product can afford.

A product of [65792, 384] and [384, 1536] has 1e8 results: 30 instructions for each take as long as the product itself.
So a value and its derivative share one exponential and one reciprocal. XLA's products on Triton do not contract a
multiplication and an addition into one instruction, hence `_Ops`, which says it in PTX.

The exact GELU: with z = |x| / sqrt(2) and t = 1 / (1 + p z), erfc(z) / 2 = q(t) exp(-z^2), a form of Abramowitz and
Stegun, 7.1.26, here with a polynomial q of degree 6 (fitted for the least largest error, 4e-9) instead of 5 (8e-8).
For x < 0 nothing cancels in it, so small values are more accurate than those of 1 + erf.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.experimental.pallas import triton as plgpu

# p / sqrt(2), and q(t) / t from the constant up.
_P = 0.2757716446627535
_Q = (0.117662251, 0.0456964336, 0.324774206, -0.317693402, 0.443328076, -0.113767566)
_LOG2E = 1.0 / math.log(2.0)


class _Ops:
    """Float32 instructions; `ptx`: as such, else in jax's terms, for the interpreter."""

    def __init__(self, ptx: bool):
        self._ptx = ptx

    def fma(self, a: jax.Array, b: jax.Array | float, c: jax.Array | float) -> jax.Array:
        """a b + c."""
        if not self._ptx:
            return a * b + c
        b, c = (jnp.broadcast_to(jnp.asarray(x, a.dtype), a.shape) for x in (b, c))
        return self._asm("fma.rn.f32 $0, $1, $2, $3;", a, b, c)

    def reciprocal(self, a: jax.Array) -> jax.Array:
        """1 / a, within 1 ulp."""
        return self._asm("rcp.approx.ftz.f32 $0, $1;", a) if self._ptx else 1 / a

    def exp2(self, a: jax.Array) -> jax.Array:
        """2^a, within 2 ulp."""
        return self._asm("ex2.approx.ftz.f32 $0, $1;", a) if self._ptx else jnp.exp2(a)

    @staticmethod
    def _asm(line: str, *args: jax.Array) -> jax.Array:
        constraints = ",".join(["=f"] + ["f"] * len(args))
        like = [jax.ShapeDtypeStruct(args[0].shape, args[0].dtype)]
        (result,) = plgpu.elementwise_inline_asm(
            line, args=args, constraints=constraints, pack=1, result_shape_dtypes=like
        )
        return result


def _gelu(x: jax.Array, ops: _Ops) -> tuple[jax.Array, jax.Array]:
    size = jnp.abs(x)
    density = ops.exp2(x * x * (-0.5 * _LOG2E))
    t = ops.reciprocal(ops.fma(size, _P, 1.0))
    q = ops.fma(t, _Q[5], _Q[4])
    for coefficient in _Q[3::-1]:
        q = ops.fma(q, t, coefficient)
    tail = q * t * density  # Phi(-|x|)
    value = ops.fma(-size, tail, jnp.maximum(x, 0.0))
    below = ops.fma(-size * (1 / math.sqrt(2 * math.pi)), density, tail)  # the derivative at -|x|
    return value, jnp.where(x < 0, below, 1 - below)


def _quick_gelu(x: jax.Array, ops: _Ops) -> tuple[jax.Array, jax.Array]:
    s = ops.reciprocal(1 + ops.exp2(x * (-1.702 * _LOG2E)))
    value = x * s
    return value, ops.fma(ops.fma(-value, s, value), 1.702, s)


def _gelu_tanh(x: jax.Array, ops: _Ops) -> tuple[jax.Array, jax.Array]:
    # (1 + tanh(u)) / 2 = sigmoid(2 u), with 2 u = x (a + b x^2)
    a, b = 2 * math.sqrt(2 / math.pi), 2 * math.sqrt(2 / math.pi) * 0.044715
    square = x * x
    s = ops.reciprocal(1 + ops.exp2(x * ops.fma(square, -b * _LOG2E, -a * _LOG2E)))
    value = x * s
    return value, ops.fma(ops.fma(-value, s, value), ops.fma(square, 3 * b, a), s)


_WITH_SLOPE: dict[str, Callable[[jax.Array, _Ops], tuple[jax.Array, jax.Array]]] = {
    "gelu": _gelu,
    "quick_gelu": _quick_gelu,
    "gelu_tanh": _gelu_tanh,
}
NAMES = tuple(_WITH_SLOPE)


def with_slope(name: str, x: jax.Array, *, ptx: bool) -> tuple[jax.Array, jax.Array]:
    """The activation function `name` and its derivative at x, float32. ptx: in a Triton kernel for an NVIDIA GPU."""
    return _WITH_SLOPE[name](x, _Ops(ptx))
