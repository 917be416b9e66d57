# SPDX-License-Identifier: Apache-2.0
"""What lies between two large products of a block, in one kernel: low-rank update, residual, LayerNorm, projection.

Plain operations for it pass over the tokens a dozen times, at the speed of the memory. A junction reads the residual
stream and a product once and writes the next stream and the next product's input:

    stream     s = x + p + (h g) B + bias           from p and h of the product before it, its rows `[p | h]`
    next input [n | (n A) g' | 1 | 0 ...]           with n = LayerNorm(s)

so that the next product takes its own low-rank update and bias as further rows of its kernel, `[W; B; bias]`. The
backward pass is one kernel, too. Sources: LoRA (arXiv 2106.09685); LayerNorm (arXiv 1607.06450).
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu
from jax.sharding import Mesh

from adaptface_jax.models.kernels.arithmetic import cost, dot, over_rows
from adaptface_jax.models.kernels.split import on_rows

ALIGNED = 8  # columns: 16 bytes of bfloat16
CHUNK = 64  # ranks that a kernel multiplies at a time, at most
ROWS, WARPS = 32, 4  # of a program: the fastest of seven forms on an H100
PARAMETERS = ("bias", "scale", "shift", "a", "a_t", "b", "b_t")  # of a kernel's arrays, those that are not by rows


class Norm(NamedTuple):
    """scale, shift [D]: frozen."""

    scale: jax.Array
    shift: jax.Array


class Update(NamedTuple):
    """The end of a product's low-rank update. b [R, D]; gate float32 [B, R], or None if all are 1."""

    b: jax.Array
    gate: jax.Array | None


class Projection(NamedTuple):
    """The start of the next product's low-rank update. a [D, R]; gate as above."""

    a: jax.Array
    gate: jax.Array | None


@dataclasses.dataclass(frozen=True)
class Form:
    """tokens: of an image, padding included. interpret: without a GPU, for tests. mesh: as in `split.on_rows`."""

    tokens: int
    eps: float
    rows: int = ROWS
    warps: int = WARPS
    interpret: bool = False
    mesh: Mesh | None = None


def extended(width: int, ranks: int) -> int:
    """The columns of `[n | h | 1 | 0 ...]`."""
    return -(-(width + ranks + 1) // ALIGNED) * ALIGNED


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def junction(
    form: Form,
    x: jax.Array,
    p: jax.Array | None,
    bias: jax.Array | None,
    update: Update | None,
    norm: Norm,
    projection: Projection | None,
) -> tuple[jax.Array, jax.Array]:
    """s [M, D] and n [M, D], or with a projection [M, extended(D, R)].

    x [M, D]: the residual stream; p [M, D], with an update [M, D + R]: a product, None before the first one;
    bias [D]. M = B * tokens. Gradients for x, p, `update`, `projection`, none for bias and norm, which are frozen.
    Rounded once to x's dtype where the plain form rounds after every operation.
    """
    return _forward(form, x, p, bias, update, norm, projection)[0]


def _forward(form: Form, x: Any, p: Any, bias: Any, update: Any, norm: Norm, projection: Any) -> Any:
    s, n, hidden = _run_forward(form, x, p, bias, update, norm, projection)
    ends = None if update is None else (update, p[:, x.shape[1] :])
    starts = None if projection is None else (projection, n, hidden)
    return (s, n), (s, ends, starts, norm, p is None, bias)


def _backward(form: Form, residuals: Any, cotangents: Any) -> Any:
    s, ends, starts, norm, first, bias = residuals
    ds, dn = cotangents
    update: Update | None = None if ends is None else ends[0]
    projection: Projection | None = None if starts is None else starts[0]
    d, d_ext, raw = _run_backward(form, ds, dn, s, update, norm, projection)
    d_update, d_projection, width = None, None, s.shape[1]
    if update is not None:
        hidden, d_gate = ends[1], None
        if update.gate is not None:
            d_gate = _per_image(raw, hidden, form.tokens)
            hidden = gated(hidden, update.gate, form.tokens)
        d_update = Update(over_rows(hidden, d).astype(update.b.dtype), d_gate)
    if projection is not None:
        _, n, hidden = starts
        ranks, d_gate = projection.a.shape[1], None
        d_hidden = dn[:, width : width + ranks]
        if projection.gate is not None:
            d_gate = _per_image(d_hidden, hidden, form.tokens)
            d_hidden = gated(d_hidden, projection.gate, form.tokens)
        # Of all columns of n: cutting off the others would copy it.
        d_projection = Projection(over_rows(n, d_hidden)[:width].astype(projection.a.dtype), d_gate)
    zero = jax.tree.map(jnp.zeros_like, (bias, norm))
    dp = None if first else (d if d_ext is None else d_ext)
    return d, dp, zero[0], d_update, zero[1], d_projection


junction.defvjp(_forward, _backward)


def gated(hidden: jax.Array, gate: jax.Array, tokens: int) -> jax.Array:
    """hidden [B * tokens, R] times the gates of each row's image, [B, R], in plain operations."""
    by_image = hidden.reshape(-1, tokens, hidden.shape[1])
    return (by_image * gate[:, None].astype(hidden.dtype)).reshape(hidden.shape)


def _per_image(a: jax.Array, b: jax.Array, tokens: int) -> jax.Array:
    """sum over the tokens of a * b, float32 [B, R]."""
    product = a.astype(jnp.float32) * b.astype(jnp.float32)
    return jnp.sum(product.reshape(-1, tokens, a.shape[1]), axis=1)


Span = tuple[int, int]  # first, count: columns or ranks
Pieces = list[jax.Array]  # float32 [rows, columns of a piece], of the tokens of a program


class _Tile:
    """The rows of one program, and the columns of its tokens in pieces of a power of two, as a kernel needs them.

    What is outside is masked, where something is.
    """

    def __init__(self, rows: int, count: int, width: int) -> None:
        self.rows = pl.program_id(0) * rows + jnp.arange(rows, dtype=jnp.int32)
        self.count, self.width = count, width
        self.valid = None if count % rows == 0 else self.rows < count
        self.columns = _pieces(width)

    def load(self, ref: Any) -> Pieces:
        """The first D columns of ref [M, at least D]."""
        return [self.narrow(ref, 0, span, self.width).astype(jnp.float32) for span in self.columns]

    def store(self, ref: Any, pieces: Pieces) -> None:
        for span, piece in zip(self.columns, pieces, strict=True):
            self.store_narrow(ref, 0, span, self.width, piece)

    def narrow(self, ref: Any, first: int, span: Span, end: int) -> jax.Array:
        """[rows, span] of the `end` columns of ref from `first` on."""
        columns, mask = self._columns(span, end)
        return _load(ref.at[self.rows[:, None], first + columns], mask)

    def store_narrow(self, ref: Any, first: int, span: Span, end: int, values: jax.Array) -> None:
        columns, mask = self._columns(span, end)
        plgpu.store(ref.at[self.rows[:, None], first + columns], values.astype(ref.dtype), mask=mask)

    def vector(self, ref: Any) -> Pieces:
        """ref [D], as rows."""
        found = []
        for span in self.columns:
            columns, mask = _range(span, self.width)
            found.append(_load(ref.at[columns], mask).astype(jnp.float32)[None, :])
        return found

    def factor(self, ref: Any, span: Span, end: int) -> list[jax.Array]:
        """[columns, span] of ref [D, R], in pieces."""
        ranks, inside = _range(span, end)
        found = []
        for piece in self.columns:
            columns, real = _range(piece, self.width)
            found.append(_load(ref.at[columns[:, None], ranks[None, :]], _both(real, inside)))
        return found

    def turned(self, ref: Any, span: Span, end: int) -> list[jax.Array]:
        """[span, columns] of ref [R, D], in pieces."""
        ranks, inside = _range(span, end)
        found = []
        for piece in self.columns:
            columns, real = _range(piece, self.width)
            found.append(_load(ref.at[ranks[:, None], columns[None, :]], _both(inside, real)))
        return found

    def gated(self, hidden: jax.Array, ref: Any, tokens: int, span: Span, end: int) -> jax.Array:
        """hidden [rows, span] times the gates of each row's image, ref [B, R]."""
        ranks, inside = _range(span, end)
        images = jnp.minimum(self.rows, self.count - 1) // tokens
        gates = _load(ref.at[images[:, None], ranks[None, :]], _both(None, inside))
        return hidden * gates.astype(hidden.dtype)

    def _columns(self, span: Span, end: int) -> tuple[jax.Array, jax.Array | None]:
        columns, inside = _range(span, end)
        return columns[None, :], _both(self.valid, inside)


def _pieces(width: int) -> list[Span]:
    """The columns in equal pieces of a power of two, as kernels need them: then all have the same layout.

    At most 256: eight values of each thread of a warp, which then has whole rows and shares nothing with others. The
    last one lies beyond the width if that is no multiple of 16.
    """
    size = min(256, max(16, width & -width))
    return [(start, size) for start in range(0, width, size)]


def _chunks(ranks: int) -> list[Span]:
    """The ranks in pieces of a power of two of at least 16, as products want them."""
    size = min(CHUNK, max(16, pl.next_power_of_2(ranks)))
    return [(start, size) for start in range(0, ranks, size)]


def _range(span: Span, end: int) -> tuple[jax.Array, jax.Array | None]:
    """The numbers of a span, and which are below `end`; None: all."""
    numbers = span[0] + jnp.arange(span[1], dtype=jnp.int32)
    return numbers, None if sum(span) <= end else numbers < end


def _both(rows: jax.Array | None, columns: jax.Array | None) -> jax.Array | None:
    """The mask of a tile, None if nothing is outside."""
    if columns is None:
        return None if rows is None else rows[:, None]
    return columns[None, :] if rows is None else rows[:, None] & columns[None, :]


def _load(ref: Any, mask: jax.Array | None) -> jax.Array:
    return plgpu.load(ref) if mask is None else plgpu.load(ref, mask=mask, other=0)


def _mean(pieces: Pieces, width: int) -> jax.Array:
    """Of each row, [rows, 1]."""
    return _sum([jnp.sum(piece, axis=1, keepdims=True) for piece in pieces]) / width


def _sum(pieces: Pieces) -> jax.Array:
    return functools.reduce(jnp.add, pieces)


def _standardized(tile: _Tile, pieces: Pieces, eps: float) -> tuple[Pieces, jax.Array]:
    """Of each row: zero mean and unit variance; the inverse deviation [rows, 1]."""
    mean = _mean(pieces, tile.width)
    centered = []
    for span, piece in zip(tile.columns, pieces, strict=True):
        inside = _range(span, tile.width)[1]
        centered.append(piece - mean if inside is None else jnp.where(inside[None, :], piece - mean, 0.0))
    inverse = jax.lax.rsqrt(_mean([piece * piece for piece in centered], tile.width) + eps)
    return [piece * inverse for piece in centered], inverse


def _forward_kernel(names: tuple[str, ...], form: Form, sizes: tuple[int, ...], *refs: Any) -> None:
    ref = dict(zip(names, refs, strict=True))
    count, width, ending, starting = sizes
    tile = _Tile(form.rows, count, width)
    s = tile.load(ref["x"])
    if "p" in ref:
        s = [a + b + bias for a, b, bias in zip(s, tile.load(ref["p"]), tile.vector(ref["bias"]), strict=True)]
        for span in _chunks(ending) if ending else ():
            hidden = tile.narrow(ref["p"], width, span, ending)
            if "p_gate" in ref:
                hidden = tile.gated(hidden, ref["p_gate"], form.tokens, span, ending)
            s = [a + dot(hidden, b) for a, b in zip(s, tile.turned(ref["b"], span, ending), strict=True)]
        rounded = [piece.astype(ref["s"].dtype) for piece in s]
        tile.store(ref["s"], rounded)
        s = [piece.astype(jnp.float32) for piece in rounded]
    n, _ = _standardized(tile, s, form.eps)
    affine = zip(n, tile.vector(ref["scale"]), tile.vector(ref["shift"]), strict=True)
    n = [(piece * scale + shift).astype(ref["n"].dtype) for piece, scale, shift in affine]
    tile.store(ref["n"], n)
    if not starting:
        return
    tail = extended(width, starting) - width
    for span in _chunks(tail):
        factors = tile.factor(ref["a"], span, starting)
        hidden = _sum([dot(piece, a) for piece, a in zip(n, factors, strict=True)]).astype(ref["n"].dtype)
        if "a_gate" in ref:
            tile.store_narrow(ref["hidden"], 0, span, starting, hidden)
            hidden = tile.gated(hidden, ref["a_gate"], form.tokens, span, starting)
        one = (_range(span, tail)[0] == starting)[None, :]
        tile.store_narrow(ref["n"], width, span, tail, jnp.where(one, 1.0, hidden.astype(jnp.float32)))


def _backward_kernel(names: tuple[str, ...], form: Form, sizes: tuple[int, ...], *refs: Any) -> None:
    ref = dict(zip(names, refs, strict=True))
    count, width, ending, starting = sizes
    tile = _Tile(form.rows, count, width)
    dn = tile.load(ref["dn"])
    for span in _chunks(starting) if starting else ():
        hidden = tile.narrow(ref["dn"], width, span, starting)
        if "a_gate" in ref:
            hidden = tile.gated(hidden, ref["a_gate"], form.tokens, span, starting)
        dn = [a + dot(hidden, b) for a, b in zip(dn, tile.turned(ref["a_t"], span, starting), strict=True)]
    n, inverse = _standardized(tile, tile.load(ref["s"]), form.eps)
    dn = [piece * scale for piece, scale in zip(dn, tile.vector(ref["scale"]), strict=True)]
    mean = _mean(dn, width)
    along = _mean([a * b for a, b in zip(dn, n, strict=True)], width)
    parts = zip(tile.load(ref["ds"]), dn, n, strict=True)
    d = [(ds + (dn - mean - n * along) * inverse).astype(ref["d"].dtype) for ds, dn, n in parts]
    tile.store(ref["d"], d)
    if not ending:
        return
    tile.store(ref["d_ext"], d)
    for span in _chunks(ending):
        factors = tile.factor(ref["b_t"], span, ending)
        hidden = _sum([dot(piece, b) for piece, b in zip(d, factors, strict=True)]).astype(ref["d"].dtype)
        if "p_gate" in ref:
            tile.store_narrow(ref["raw"], 0, span, ending, hidden)
            hidden = tile.gated(hidden, ref["p_gate"], form.tokens, span, ending)
        tile.store_narrow(ref["d_ext"], width, span, ending, hidden)


def _run_forward(form: Form, x: Any, p: Any, bias: Any, update: Any, norm: Norm, projection: Any) -> Any:
    width = x.shape[1]
    ending = 0 if update is None else update.b.shape[0]
    starting = 0 if projection is None else projection.a.shape[1]
    given = {"x": x, "p": p, "bias": bias, "scale": norm.scale, "shift": norm.shift}
    if update is not None:
        given |= {"b": update.b.astype(x.dtype), "p_gate": update.gate}
    if projection is not None:
        given |= {"a": projection.a.astype(x.dtype), "a_gate": projection.gate}
    made = {} if p is None else {"s": width}
    made["n"] = extended(width, starting) if starting else width
    if projection is not None and projection.gate is not None:
        made["hidden"] = starting
    out = _call(_forward_kernel, "junction", form, (width, ending, starting), given, made, x.dtype)
    return out.get("s", x), out["n"], out.get("hidden")


def _run_backward(form: Form, ds: Any, dn: Any, s: Any, update: Any, norm: Norm, projection: Any) -> Any:
    width = s.shape[1]
    ending = 0 if update is None else update.b.shape[0]
    starting = 0 if projection is None else projection.a.shape[1]
    given = {"ds": ds, "dn": dn, "s": s, "scale": norm.scale}
    made = {"d": width}
    if update is not None:
        given |= {"b_t": update.b.astype(s.dtype).T, "p_gate": update.gate}
        made["d_ext"] = width + ending
        if update.gate is not None:
            made["raw"] = ending
    if projection is not None:
        given |= {"a_t": projection.a.astype(s.dtype).T, "a_gate": projection.gate}
    out = _call(_backward_kernel, "junction_gradient", form, (width, ending, starting), given, made, s.dtype)
    return out["d"], out.get("d_ext"), out.get("raw")


def _call(
    kernel: Any, name: str, form: Form, sizes: tuple[int, int, int], given: dict, made: dict[str, int], dtype: Any
) -> dict[str, jax.Array]:
    """Runs a kernel on the arrays that are there; its results by their names. made: the columns of each."""
    given = {key: value for key, value in given.items() if value is not None}
    width, ending, starting = sizes

    def run(*arrays: jax.Array) -> tuple[jax.Array, ...]:
        count = len(arrays[0])  # x or ds: on this device
        out_shape = tuple(jax.ShapeDtypeStruct((count, columns), dtype) for columns in made.values())
        return pl.pallas_call(
            functools.partial(kernel, (*given, *made), form, (count, *sizes)),
            out_shape=out_shape,
            grid=(pl.cdiv(count, form.rows),),
            compiler_params=plgpu.CompilerParams(num_warps=form.warps, num_stages=1),
            cost_estimate=cost(2 * count * width * (ending + starting), (*arrays, *out_shape)),
            interpret=form.interpret,
            name=name,
        )(*arrays)

    whole = [i for i, key in enumerate(given) if key in PARAMETERS]
    return dict(zip(made, on_rows(form.mesh, run, tuple(given.values()), whole), strict=True))
