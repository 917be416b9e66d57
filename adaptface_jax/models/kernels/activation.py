# SPDX-License-Identifier: Apache-2.0
"""An activation and its derivative, in one pass over memory.

The exact GELU needs an error function and its derivative an exponential, 50 instructions of XLA's for each element,
which then cost more than the memory. Both come from one exponential here (Abramowitz and Stegun, Handbook of
Mathematical Functions, 7.1.26: an absolute error of 1.5e-7, far below what bfloat16 rounds).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu
from jax.sharding import Mesh

from adaptface_jax.models.kernels.arithmetic import cost
from adaptface_jax.models.kernels.split import on_rows
from adaptface_jax.models.layers.mlp import ACTIVATIONS

ROWS, COLUMNS, WARPS = 32, 128, 4  # of a program
HALVES = tuple(each / 2 for each in (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429))


def gelu(x: jax.Array, inverse: Callable[[jax.Array], jax.Array] = lambda x: 1 / x) -> tuple[jax.Array, jax.Array]:
    """x Phi(x) and Phi(x) + x phi(x) of float32 x, with the normal distribution's Phi and phi.

    inverse: 1 / x of x >= 1.
    """
    t = inverse(1 + 0.3275911 * math.sqrt(0.5) * jnp.abs(x))
    bell = jnp.exp2(x * x * (-0.5 * math.log2(math.e)))
    tail = HALVES[-1] * t
    for half in reversed(HALVES[:-1]):
        tail = (tail + half) * t
    tail = tail * bell  # beyond |x|
    below = jnp.where(x < 0, tail, 1 - tail)
    return x * below, below + x * bell * (1 / math.sqrt(2 * math.pi))


@functools.partial(jax.jit, static_argnums=(0, 3, 4, 5))
def activated(
    name: str, h: jax.Array, bias: jax.Array, slope: bool, interpret: bool, mesh: Mesh | None
) -> tuple[jax.Array, ...]:
    """activation(h + bias) and, with `slope`, the derivative there, of h [M, H] and bias [H]; H in whole COLUMNS.

    name: of ACTIVATIONS. Computed in float32, rounded to h's dtype. interpret: without a GPU, for tests. mesh: as in
    `split.on_rows`.
    """
    tile = pl.BlockSpec((ROWS, COLUMNS), lambda i, j: (i, j))

    def run(h: jax.Array, bias: jax.Array) -> tuple[jax.Array, ...]:
        made = (jax.ShapeDtypeStruct(h.shape, h.dtype),) * (1 + slope)
        return pl.pallas_call(
            functools.partial(_kernel, name, len(h)),
            grid=(pl.cdiv(len(h), ROWS), h.shape[1] // COLUMNS),
            in_specs=[tile, pl.BlockSpec((COLUMNS,), lambda i, j: (j,))],
            out_specs=(tile,) * len(made),
            out_shape=made,
            compiler_params=plgpu.CompilerParams(num_warps=WARPS, num_stages=1),
            interpret=interpret,
            cost_estimate=cost(0, (h, *made), transcendentals=h.size),
            name="activation",
        )(h, bias)

    return on_rows(mesh, run, (h, bias), whole=(1,))


def _kernel(name: str, count: int, h_ref: Any, bias_ref: Any, *made: Any) -> None:
    mask = None
    if count % ROWS:
        rows = pl.program_id(0) * ROWS + jnp.arange(ROWS, dtype=jnp.int32)
        mask = jnp.broadcast_to((rows < count)[:, None], (ROWS, COLUMNS))
    h = plgpu.load(h_ref.at[:, :], mask=mask, other=None if mask is None else 0)
    x = h.astype(jnp.float32) + bias_ref[...].astype(jnp.float32)[None, :]
    found = gelu(x) if name == "gelu" else jax.jvp(ACTIVATIONS[name], (x,), (jnp.ones_like(x),))
    for ref, values in zip(made, found, strict=False):  # with or without the derivative
        plgpu.store(ref.at[:, :], values.astype(ref.dtype), mask=mask)
