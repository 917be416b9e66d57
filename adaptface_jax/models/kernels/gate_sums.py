# SPDX-License-Identifier: Apache-2.0
"""The gradient of gates: products of two narrow arrays, summed over the tokens of each image.

XLA reads the columns of a wide array at a third of the memory's speed.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu
from jax.sharding import Mesh

from adaptface_jax.models.kernels.arithmetic import cost
from adaptface_jax.models.kernels.split import on_rows

ROWS, COLUMNS, WARPS = 64, 32, 4  # tokens at a time, ranks of a program


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
def gate_sums(
    a: jax.Array, b: jax.Array, first: int, tokens: int, interpret: bool = False, mesh: Mesh | None = None
) -> jax.Array:
    """sum over an image's tokens of a[:, first : first + R] * b, float32 [B, R]; b [B * tokens, R].

    interpret: without a GPU, for tests. mesh: as in `split.on_rows`.
    """

    def run(a: jax.Array, b: jax.Array) -> jax.Array:
        images, ranks = len(b) // tokens, b.shape[1]
        made = jax.ShapeDtypeStruct((images, ranks), jnp.float32)
        return pl.pallas_call(
            functools.partial(_kernel, first, tokens),
            grid=(images, pl.cdiv(ranks, COLUMNS)),
            out_shape=made,
            compiler_params=plgpu.CompilerParams(num_warps=WARPS, num_stages=2),
            cost_estimate=cost(0, (b, b, made)),
            interpret=interpret,
            name="gate_sums",
        )(a, b)

    return on_rows(mesh, run, (a, b))


def _kernel(first: int, tokens: int, a_ref: Any, b_ref: Any, out_ref: Any) -> None:
    image = pl.program_id(0)
    columns = pl.program_id(1) * COLUMNS + jnp.arange(COLUMNS, dtype=jnp.int32)
    inside = columns < b_ref.shape[1]

    def add(step: jax.Array, total: jax.Array) -> jax.Array:
        rows = step * ROWS + jnp.arange(ROWS, dtype=jnp.int32)
        mask, at = (rows < tokens)[:, None] & inside[None, :], (image * tokens + rows)[:, None]
        left = plgpu.load(a_ref.at[at, (first + columns)[None, :]], mask=mask, other=0)
        right = plgpu.load(b_ref.at[at, columns[None, :]], mask=mask, other=0)
        return total + left.astype(jnp.float32) * right.astype(jnp.float32)

    total = jax.lax.fori_loop(0, pl.cdiv(tokens, ROWS), add, jnp.zeros((ROWS, COLUMNS), jnp.float32))
    plgpu.store(out_ref.at[image, columns], jnp.sum(total, axis=0), mask=inside)
