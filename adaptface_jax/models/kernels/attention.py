# SPDX-License-Identifier: Apache-2.0
"""Attention of short sequences, straight from the fused q, k, v array and back into its gradient.

General kernels work in tiles of 128 tokens, which the 257 of an image of 16 x 16 patches fill to 45%, and want q, k and
v apart. Here tokens are split into whole blocks, without masks, and a tail of at most 16 tokens (the odd class and
register tokens) with products of its own; a single one enters by plain sums. In the backward pass a program makes the
gradients of one block's keys and values, then of its queries: seven products, but many small programs, no atomics and
nothing in between in memory. (One program for all keys of an image, with five products and every exponential once, took
487 us of 256 images with 6 heads on an H200, this 385, with products for the single token 422.)

Sources: FlashAttention (arXiv 2205.14135); the order of its backward pass as in FlashAttention-2 (arXiv 2307.08691).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu
from jax.sharding import Mesh

from adaptface_jax.models.kernels.arithmetic import cost, dot
from adaptface_jax.models.kernels.split import on_rows
from adaptface_jax.models.kernels.tokens import BLOCK, Head, Split
from adaptface_jax.models.layers.remat import kept

LOWEST = -1e30  # of scores: finite, so that a tail of padding alone comes to 0
LOG2E = math.log2(math.e)


@dataclasses.dataclass(frozen=True)
class Tiles:
    """Of one program: queries and keys at a time (forward), tokens and others at a time (backward), warps, stages."""

    queries: int = 128
    keys: int = 64
    warps: int = 4
    stages: int = 3
    block: int = 128
    step: int = 32
    backward_warps: int = 4
    backward_stages: int = 3


TILES = Tiles()  # the fastest of 5 forwards and 12 backwards on an H100


class _Form(NamedTuple):
    """What a kernel is made for."""

    heads: int
    dim: int
    tokens: int
    tiles: Tiles
    interpret: bool
    mesh: Mesh | None

    @classmethod
    def of(cls, qkv: jax.Array, heads: int, tokens: int | None, *rest: Any) -> _Form:
        return cls(heads, qkv.shape[2] // 3 // heads, tokens or qkv.shape[1], *rest)

    def parts(self, *refs: Any) -> list[Head]:
        """Of arrays [B, T, 3 D] three parts, of arrays [B, T, D] one."""
        width = self.heads * self.dim
        return [
            Head(ref, part, self.heads, self.dim, self.tokens) for ref in refs for part in range(ref.shape[2] // width)
        ]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4, 5))
def attend_packed(
    qkv: jax.Array,
    heads: int,
    tokens: int | None = None,
    tiles: Tiles = TILES,
    interpret: bool = False,
    mesh: Mesh | None = None,
) -> jax.Array:
    """softmax(q k' / sqrt(d)) v of qkv [B, T, 3 * heads * d]: y [B, T, heads * d], in qkv's dtype.

    The columns of qkv are those of q, k, v, each [heads, d]. tokens: the first ones, which attend to each other; rows
    after them are padding, 0 in y and in the gradient. Scores, softmax and sums are float32; probabilities are rounded
    to qkv's dtype for their products. Kept for the backward pass: qkv, y and a float32 [B, heads, T], log2 of each
    row's sum of exponentials. interpret: without a GPU, for tests. mesh: as in `split.on_rows`.
    """
    return _forward(qkv, heads, tokens, tiles, interpret, mesh)[0]


def _forward(qkv: jax.Array, *form: Any) -> Any:
    y, log_sum = _run_forward(qkv, _Form.of(qkv, *form))
    y, log_sum = kept(y), kept(log_sum)
    return y, (qkv, y, log_sum)


def _backward(
    heads: int, tokens: int | None, tiles: Tiles, interpret: bool, mesh: Mesh | None, residuals: Any, dy: jax.Array
) -> Any:
    qkv, y, log_sum = residuals
    return (_run_backward(qkv, y, log_sum, dy, _Form.of(qkv, heads, tokens, tiles, interpret, mesh)),)


attend_packed.defvjp(_forward, _backward)


def _exp2(x: jax.Array, factor: float, offset: jax.Array, interpret: bool) -> jax.Array:
    """2^(x * factor - offset) of x [rows, columns], offset [rows, 1] or [1, columns].

    In PTX, as Triton neither contracts products and sums nor drops the care for subnormals: 2 instructions, not 5.
    """
    if interpret:
        return jnp.exp2(x * factor - offset)
    (y,) = plgpu.elementwise_inline_asm(
        "{ .reg .f32 a; fma.rn.ftz.f32 a, $1, $2, $3; ex2.approx.ftz.f32 $0, a; }",
        args=[x, jnp.full(x.shape, factor, jnp.float32), jnp.broadcast_to(-offset, x.shape)],
        constraints="=f,f,f,f",
        pack=1,
        result_shape_dtypes=[jax.ShapeDtypeStruct(x.shape, jnp.float32)],
    )
    return y


def _forward_kernel(form: _Form, qkv_ref: Any, y_ref: Any, log_sum_ref: Any) -> None:
    split = Split.of(form.tokens, qkv_ref.shape[1])
    head, image = pl.program_id(1), pl.program_id(2)
    queries, keys, values, attended = form.parts(qkv_ref, y_ref)
    scale = LOG2E / math.sqrt(form.dim)

    def attend(rows: jax.Array, masked: bool) -> None:
        q = queries.load(rows, masked)

        def block(columns: jax.Array, masked: bool, state: Any) -> Any:
            top, total, y = state
            scores = dot(q, keys.load(columns, masked).T)
            if masked:
                scores = jnp.where((columns < form.tokens)[None, :], scores, -jnp.inf)
            new = jnp.maximum(top, jnp.max(scores, axis=1) * scale)
            correction = jnp.exp2(top - new)
            p = _exp2(scores, scale, new[:, None], form.interpret)
            total = total * correction + jnp.sum(p, axis=1)
            v = values.load(columns, masked)
            return new, total, y * correction[:, None] + dot(p.astype(v.dtype), v)

        size = len(rows)
        state: Any = (jnp.full((size,), LOWEST), jnp.zeros((size,)), jnp.zeros((size, form.dim)))
        if split.single:
            top = _scores(q, keys.vector(split.whole)) * scale
            state = (top, jnp.ones((size,)), jnp.broadcast_to(values.vector(split.whole), (size, form.dim)))
        top, total, y = split.over_all(form.tiles.keys, block, state)
        attended.store(rows, y / total[:, None], masked)
        at = log_sum_ref.at[image, head, rows]
        plgpu.store(at, top + jnp.log2(total), mask=rows < form.tokens if masked else None)

    split.of_program(form.tiles.queries, attend)


def _backward_kernel(form: _Form, qkv_ref: Any, y_ref: Any, log_sum_ref: Any, dy_ref: Any, d_qkv_ref: Any) -> None:
    split = Split.of(form.tokens, qkv_ref.shape[1])
    head, image = pl.program_id(1), pl.program_id(2)
    queries, keys, values, attended, d_attended = form.parts(qkv_ref, y_ref, dy_ref)
    d_queries, d_keys, d_values = form.parts(d_qkv_ref)
    scale = 1 / math.sqrt(form.dim)

    def rows_of(rows: jax.Array, masked: bool) -> Any:
        """q, dy, each row's log sum, and its sum of P * dP."""
        q, dy, y = (part.load(rows, masked) for part in (queries, d_attended, attended))
        at = log_sum_ref.at[image, head, rows]
        # No probability for padding.
        log_sum = plgpu.load(at, mask=rows < form.tokens, other=jnp.inf) if masked else plgpu.load(at)
        return q, dy, log_sum, _scores(dy, y)

    def row_of_single() -> Any:
        """The same of the single token, float32."""
        q, dy, y = (part.vector(split.whole) for part in (queries, d_attended, attended))
        return q, dy, plgpu.load(log_sum_ref.at[image, head, jnp.int32(split.whole)]), jnp.sum(dy * y)

    def weights(scores: jax.Array, d_scores: jax.Array, log_sum: jax.Array, row_sum: jax.Array) -> Any:
        """P and dS of a row or a column."""
        p = jnp.exp2(scores * (LOG2E * scale) - log_sum)
        return p, p * (d_scores - row_sum)

    def of_keys(columns: jax.Array, masked: bool) -> None:
        k, v = keys.load(columns, masked), values.load(columns, masked)

        def add(rows: jax.Array, masked: bool, sums: Any) -> Any:
            dk, dv = sums
            q, dy, log_sum, row_sum = rows_of(rows, masked)
            p = _exp2(dot(k, q.T), LOG2E * scale, log_sum[None, :], form.interpret)
            dv += dot(p.astype(v.dtype), dy)
            ds = (p * (dot(v, dy.T) - row_sum[None, :])).astype(k.dtype)
            return dk + dot(ds, q), dv

        start = (jnp.zeros((len(columns), form.dim)),) * 2
        if split.single:
            q, dy, log_sum, row_sum = row_of_single()
            p, ds = weights(_scores(k, q), _scores(v, dy), log_sum, row_sum)
            start = ds[:, None] * q, p[:, None] * dy
        dk, dv = split.over_all(form.tiles.step, add, start)
        d_keys.store(columns, dk * scale, masked)
        d_values.store(columns, dv, masked)

    def of_queries(rows: jax.Array, masked: bool) -> None:
        q, dy, log_sum, row_sum = rows_of(rows, masked)

        def add(columns: jax.Array, masked: bool, dq: jax.Array) -> jax.Array:
            k, v = keys.load(columns, masked), values.load(columns, masked)
            p = _exp2(dot(q, k.T), LOG2E * scale, log_sum[:, None], form.interpret)
            if masked:
                p = jnp.where((columns < form.tokens)[None, :], p, 0.0)
            ds = (p * (dot(dy, v.T) - row_sum[:, None])).astype(k.dtype)
            return dq + dot(ds, k)

        start = jnp.zeros((len(rows), form.dim))
        if split.single:
            k, v = keys.vector(split.whole), values.vector(split.whole)
            start = weights(_scores(q, k), _scores(dy, v), log_sum, row_sum)[1][:, None] * k
        dq = split.over_all(form.tiles.step, add, start)
        d_queries.store(rows, dq * scale, masked)

    def of_both(tokens: jax.Array, masked: bool) -> None:
        of_keys(tokens, masked)
        of_queries(tokens, masked)

    def of_single() -> None:
        q1, dy1, log_sum1, row_sum1 = row_of_single()
        k1, v1 = keys.vector(split.whole), values.vector(split.whole)

        def add(tokens: jax.Array, _: bool, sums: Any) -> Any:
            dq, dk, dv = sums
            q, dy, log_sum, row_sum = rows_of(tokens, False)
            p, ds = weights(_scores(q, k1), _scores(dy, v1), log_sum, row_sum)
            dk, dv = dk + ds[:, None] * q, dv + p[:, None] * dy
            k, v = keys.load(tokens, False), values.load(tokens, False)
            _, ds = weights(_scores(k, q1), _scores(v, dy1), log_sum1, row_sum1)
            return dq + ds[:, None] * k, dk, dv

        zeros = (jnp.zeros((BLOCK, form.dim)),) * 3
        dq, dk, dv = (jnp.sum(rows, axis=0) for rows in split.over_all(BLOCK, add, zeros))
        p, ds = weights(jnp.sum(q1 * k1), jnp.sum(dy1 * v1), log_sum1, row_sum1)
        d_queries.store_vector(split.whole, (dq + ds * k1) * scale)
        d_keys.store_vector(split.whole, (dk + ds * q1) * scale)
        d_values.store_vector(split.whole, dv + p * dy1)

    split.of_program(form.tiles.block, of_both, of_single)


def _scores(rows: jax.Array, other: jax.Array) -> jax.Array:
    """The products of rows [n, d] with the rows of another array, or with a vector [d]: float32 [n]."""
    return jnp.sum(rows.astype(jnp.float32) * other.astype(jnp.float32), axis=1)


@functools.partial(jax.jit, static_argnums=1)  # here and in the other kernels: lowered once for all blocks
def _run_forward(qkv: jax.Array, form: _Form) -> tuple[jax.Array, jax.Array]:
    def run(qkv: jax.Array) -> tuple[jax.Array, jax.Array]:
        batch, stored, width = qkv.shape
        made = (
            jax.ShapeDtypeStruct((batch, stored, width // 3), qkv.dtype),
            jax.ShapeDtypeStruct((batch, form.heads, stored), jnp.float32),
        )
        return pl.pallas_call(
            functools.partial(_forward_kernel, form),
            grid=(Split.of(form.tokens, stored).programs(form.tiles.queries), form.heads, batch),
            out_shape=made,
            compiler_params=plgpu.CompilerParams(num_warps=form.tiles.warps, num_stages=form.tiles.stages),
            interpret=form.interpret,
            cost_estimate=_cost(2, form, (qkv, *made)),
            name="attention",
        )(qkv)

    return on_rows(form.mesh, run, (qkv,))


@functools.partial(jax.jit, static_argnums=4)
def _run_backward(qkv: jax.Array, y: jax.Array, log_sum: jax.Array, dy: jax.Array, form: _Form) -> jax.Array:
    def run(qkv: jax.Array, *rest: jax.Array) -> jax.Array:
        batch, stored, _ = qkv.shape
        tiles = form.tiles
        return pl.pallas_call(
            functools.partial(_backward_kernel, form),
            grid=(Split.of(form.tokens, stored).programs(tiles.block), form.heads, batch),
            out_shape=jax.ShapeDtypeStruct(qkv.shape, qkv.dtype),
            compiler_params=plgpu.CompilerParams(num_warps=tiles.backward_warps, num_stages=tiles.backward_stages),
            interpret=form.interpret,
            cost_estimate=_cost(7, form, (qkv, *rest, qkv)),
            name="attention_gradient",
        )(qkv, *rest)

    return on_rows(form.mesh, run, (qkv, y, log_sum, dy))


def _cost(products: int, form: _Form, arrays: tuple[Any, ...]) -> pl.CostEstimate:
    """Of products of all queries with all keys."""
    pairs = len(arrays[0]) * form.heads * form.tokens * form.tokens
    return cost(2 * products * pairs * form.dim, arrays, transcendentals=pairs)
