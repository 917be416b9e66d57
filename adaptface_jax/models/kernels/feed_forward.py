# SPDX-License-Identifier: Apache-2.0
"""The feed-forward half of a block with frozen weights; a kernel takes the activation's derivative into its gradient.

    h = n w1 + b1,   g = activation(h),   y = g w2

The pass that makes g also makes activation'(h), the only thing kept. In the backward pass (dy w2') * activation'(h) is
one product that ends in a factor; apart from it, a pass over the widest arrays of a block takes twice as long as the
product. On Hopper GPUs the forward product ends in the activation and its derivative, too (`hopper`). (With Triton it
was no faster than XLA's product and a pass, and a product that ends in the derivative made from h slower: 15
instructions for each of 1e8 results.)

The rows' tiles are the slow axis of the grid: all programs that share a tile of rows run at a time, which then comes
from the L2 cache, as the weights do.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu
from jax.sharding import Mesh

from adaptface_jax.models.kernels.activation import COLUMNS, activated
from adaptface_jax.models.kernels.arithmetic import cost, dot
from adaptface_jax.models.kernels.split import on_rows


class Tiles(NamedTuple):
    """A program makes `rows` x `columns` results, `depth` of the sum at a time: the fastest of six on an H100."""

    rows: int = 128
    columns: int = 128
    depth: int = 64
    warps: int = 8
    stages: int = 3


TILES = Tiles()


class Form(NamedTuple):
    """What is fixed at trace time. interpret: without a GPU, for tests. mesh: as in `split.on_rows`.

    hopper: whether the products of `hopper` are used for arrays that fit them.
    """

    activation: str
    interpret: bool = False
    tiles: Tiles = TILES
    mesh: Mesh | None = None
    hopper: bool = False

    def on_hopper(self, shape: tuple[int, ...], hidden: int) -> Any:
        """The module `hopper`, if its products are used for an array [M, D] and weights [D, hidden]; else None."""
        if not self.hopper:
            return None
        from adaptface_jax.models.kernels import hopper  # only here: its compiler changes often

        rows = shape[0] // (1 if self.mesh is None else self.mesh.size)
        return hopper if hopper.fits(rows, shape[1], hidden, self.activation) else None


def fits(width: int, hidden: int) -> bool:
    """Whether the kernel's tiles fill the weights."""
    return width % TILES.depth == 0 and hidden % math.lcm(TILES.columns, COLUMNS) == 0


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def feed_forward(form: Form, n: jax.Array, w1: jax.Array, b1: jax.Array, w2: jax.Array) -> jax.Array:
    """activation(n w1 + b1) w2, [M, D], of n [M, D] in n's dtype; w1 [D, H], b1 [H] and w2 [H, D] are frozen.

    Only n has a gradient; the derivative, [M, H] in n's dtype, is kept for it.
    """
    (g,) = activated(form.activation, jnp.matmul(n, w1), b1, False, form.interpret, form.mesh)
    return jnp.matmul(g, w2)


def _forward(form: Form, n: jax.Array, w1: jax.Array, b1: jax.Array, w2: jax.Array) -> tuple[jax.Array, Any]:
    hopper = form.on_hopper(n.shape, len(w2))
    if hopper:
        g, slope = hopper.activated_product(n, w1, b1, form.mesh)
    else:
        g, slope = activated(form.activation, jnp.matmul(n, w1), b1, True, form.interpret, form.mesh)
    return jnp.matmul(g, w2), (slope, w1, b1, w2)


def _backward(form: Form, residuals: Any, dy: jax.Array) -> tuple[jax.Array, ...]:
    slope, w1, b1, w2 = residuals
    dn = jnp.matmul(_through(form, dy, w2, slope), w1.T)
    return dn, jnp.zeros_like(w1), jnp.zeros_like(b1), jnp.zeros_like(w2)


feed_forward.defvjp(_forward, _backward)


@functools.partial(jax.jit, static_argnums=0)
def _through(form: Form, dy: jax.Array, w2: jax.Array, slope: jax.Array) -> jax.Array:
    """(dy w2') * slope, [M, H]."""
    hopper = form.on_hopper(dy.shape, len(w2))
    if hopper:
        return hopper.scaled_product(dy, w2.T, slope, form.mesh)
    tiles, width, hidden = form.tiles, dy.shape[1], w2.shape[0]
    across = hidden // tiles.columns
    result = pl.BlockSpec((tiles.rows, tiles.columns), lambda i: (i // across, i % across))

    def run(dy: jax.Array, w2: jax.Array, slope: jax.Array) -> jax.Array:
        rows = len(dy)
        return pl.pallas_call(
            functools.partial(_kernel, form, rows, across),
            grid=(pl.cdiv(rows, tiles.rows) * across,),
            in_specs=[
                pl.BlockSpec((tiles.rows, width), lambda i: (i // across, 0)),
                pl.BlockSpec((tiles.columns, width), lambda i: (i % across, 0)),
                result,
            ],
            out_specs=result,
            out_shape=jax.ShapeDtypeStruct((rows, hidden), dy.dtype),
            compiler_params=plgpu.CompilerParams(num_warps=tiles.warps, num_stages=tiles.stages),
            interpret=form.interpret,
            cost_estimate=cost(2 * rows * width * hidden, (dy, w2, slope, slope)),
            name="feed_forward_gradient",
        )(dy, w2, slope)

    return on_rows(form.mesh, run, (dy, w2, slope), whole=(1,))


def _kernel(form: Form, count: int, across: int, dy: Any, w2: Any, slope: Any, dh: Any) -> None:
    tiles, width = form.tiles, dy.shape[1]
    inside = None
    if count % tiles.rows:
        first = pl.program_id(0) // across * tiles.rows
        inside = (first + jnp.arange(tiles.rows) < count)[:, None]

    def load(ref: Any, columns: Any, size: int) -> jax.Array:
        if inside is None:
            return ref[:, columns]
        return plgpu.load(ref.at[:, columns], mask=jnp.broadcast_to(inside, (tiles.rows, size)), other=0)

    def add(step: jax.Array, total: jax.Array) -> jax.Array:
        depth = pl.ds(step * tiles.depth, tiles.depth)
        right = w2[:, depth].T
        return total + dot(load(dy, depth, tiles.depth), right)

    total = jax.lax.fori_loop(0, width // tiles.depth, add, jnp.zeros((tiles.rows, tiles.columns), jnp.float32))
    factor = load(slope, pl.ds(0, tiles.columns), tiles.columns).astype(jnp.float32)
    mask = None if inside is None else jnp.broadcast_to(inside, (tiles.rows, tiles.columns))
    plgpu.store(dh.at[:, :], (total * factor).astype(dh.dtype), mask=mask)
