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
from adaptface_jax.models.kernels.gate_sums import gate_sums
from adaptface_jax.models.kernels.split import on_rows
from adaptface_jax.models.kernels.tile import SMALLEST, Pieces, Tile, chunks, numbers_of

ALIGNED = 8  # columns: 16 bytes of bfloat16
# Rows of a program, and how many of its values a thread holds at most: with a width of 384 the fastest of seven forms
# on an H200 (4 warps each). Programs of more values would not fit the shared memory.
FORWARD, BACKWARD, LARGEST = (64, 192), (32, 96), 1 << 15
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
    """tokens: of an image, padding included. forward, backward: rows and values, as in FORWARD and BACKWARD.

    interpret: without a GPU, for tests. mesh: as in `split.on_rows`.
    """

    tokens: int
    eps: float
    forward: tuple[int, int] = FORWARD
    backward: tuple[int, int] = BACKWARD
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
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """s [M, D], n [M, D], or with a projection [M, extended(D, R)], and None, or a copy of n's R columns after D.

    The copy has no gradient: it is for the gradient of the next product's own factor, which reads only these columns.

    x [M, D]: the residual stream; p [M, D], with an update [M, D + R]: a product, None before the first one;
    bias [D]. M = B * tokens. Gradients for x, p, `update`, `projection`, none for bias and norm, which are frozen.
    Rounded once to x's dtype where the plain form rounds after every operation.
    """
    return _forward(form, x, p, bias, update, norm, projection)[0]


def _forward(form: Form, x: Any, p: Any, bias: Any, update: Any, norm: Norm, projection: Any) -> Any:
    out = _run_forward(form, x, p, bias, update, norm, projection)
    s, n, low = out.get("s", x), out["n"], out.get("low")
    ends = None if update is None else (update, out.get("ungated"), out["ended"])
    starts = None if projection is None else (projection, n, out.get("hidden"))
    return (s, n, low), (s, ends, starts, norm, p is None, bias)


def _backward(form: Form, residuals: Any, cotangents: Any) -> Any:
    s, ends, starts, norm, first, bias = residuals
    ds, dn, _ = cotangents
    update: Update | None = None if ends is None else ends[0]
    projection: Projection | None = None if starts is None else starts[0]
    out = _run_backward(form, ds, dn, s, update, norm, projection)
    d = out["d"]
    d_update, d_projection, width = None, None, s.shape[1]

    def of_gate(d_hidden: jax.Array, hidden: jax.Array | None, first: int = 0) -> jax.Array | None:
        """hidden: None without gates."""
        if hidden is None:
            return None
        return gate_sums(d_hidden, hidden, first, form.tokens, form.interpret, form.mesh)

    if update is not None:
        _, hidden, ended = ends
        d_gate = of_gate(out.get("raw"), hidden)
        d_update = Update(over_rows(ended, d).astype(update.b.dtype), d_gate)
    if projection is not None:
        _, n, hidden = starts
        # Of all columns of n: cutting off the others would copy it.
        d_a = over_rows(n, out["d_low"])[:width].astype(projection.a.dtype)
        d_projection = Projection(d_a, of_gate(dn, hidden, width))
    zero = jax.tree.map(jnp.zeros_like, (bias, norm))
    dp = None if first else out.get("d_ext", d)
    return d, dp, zero[0], d_update, zero[1], d_projection


junction.defvjp(_forward, _backward)


def gated(hidden: jax.Array, gate: jax.Array, tokens: int) -> jax.Array:
    """hidden [B * tokens, R] times the gates of each row's image, [B, R], in plain operations."""
    by_image = hidden.reshape(-1, tokens, hidden.shape[1])
    return (by_image * gate[:, None].astype(hidden.dtype)).reshape(hidden.shape)


def _mean(pieces: Pieces, width: int) -> jax.Array:
    """Of each row, [rows, 1]."""
    return _sum([jnp.sum(piece, axis=1, keepdims=True) for piece in pieces]) / width


def _sum(pieces: Pieces) -> jax.Array:
    return functools.reduce(jnp.add, pieces)


def _standardized(tile: Tile, pieces: Pieces, eps: float) -> tuple[Pieces, jax.Array]:
    """Of each row: zero mean and unit variance; the inverse deviation [rows, 1]."""
    mean = _mean(pieces, tile.width)
    centered = []
    for span, piece in zip(tile.columns, pieces, strict=True):
        inside = numbers_of(span, tile.width)[1]
        centered.append(piece - mean if inside is None else jnp.where(inside[None, :], piece - mean, 0.0))
    inverse = jax.lax.rsqrt(_mean([piece * piece for piece in centered], tile.width) + eps)
    return [piece * inverse for piece in centered], inverse


def _forward_kernel(names: tuple[str, ...], form: Form, sizes: tuple[int, ...], *refs: Any) -> None:
    ref = dict(zip(names, refs, strict=True))
    rows, count, width, ending, starting = sizes
    tile = Tile(rows, count, width)
    s = tile.load(ref["x"])
    if "p" in ref:
        s = [a + b + bias for a, b, bias in zip(s, tile.load(ref["p"]), tile.vector(ref["bias"]), strict=True)]
        for span in chunks(ending):
            hidden = tile.narrow(ref["p"], width, span, ending)
            if "p_gate" in ref:
                tile.store_narrow(ref["ungated"], 0, span, ending, hidden)
                hidden = tile.gated(hidden, ref["p_gate"], form.tokens, span, ending)
            tile.store_narrow(ref["ended"], 0, span, ending, hidden)
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
    for span in chunks(starting):
        factors = tile.factor(ref["a"], span, starting)
        hidden = _sum([dot(piece, a) for piece, a in zip(n, factors, strict=True)]).astype(ref["n"].dtype)
        if "a_gate" in ref:
            tile.store_narrow(ref["hidden"], 0, span, starting, hidden)
            hidden = tile.gated(hidden, ref["a_gate"], form.tokens, span, starting)
        tile.store_narrow(ref["low"], 0, span, starting, hidden)
        tile.store_narrow(ref["n"], width, span, starting, hidden)
    after = width + starting
    one = jnp.broadcast_to(jnp.arange(ALIGNED) == 0, (rows, ALIGNED))
    tile.store_narrow(ref["n"], after, (0, ALIGNED), extended(width, starting) - after, one)


def _backward_kernel(names: tuple[str, ...], form: Form, sizes: tuple[int, ...], *refs: Any) -> None:
    ref = dict(zip(names, refs, strict=True))
    rows, count, width, ending, starting = sizes
    tile = Tile(rows, count, width)
    dn = tile.load(ref["dn"])
    for span in chunks(starting):
        hidden = tile.narrow(ref["dn"], width, span, starting)
        if "a_gate" in ref:
            hidden = tile.gated(hidden, ref["a_gate"], form.tokens, span, starting)
        tile.store_narrow(ref["d_low"], 0, span, starting, hidden)
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
    for span in chunks(ending):
        factors = tile.factor(ref["b_t"], span, ending)
        hidden = _sum([dot(piece, b) for piece, b in zip(d, factors, strict=True)]).astype(ref["d"].dtype)
        if "p_gate" in ref:
            tile.store_narrow(ref["raw"], 0, span, ending, hidden)
            hidden = tile.gated(hidden, ref["p_gate"], form.tokens, span, ending)
        tile.store_narrow(ref["d_ext"], width, span, ending, hidden)


@functools.partial(jax.jit, static_argnums=0)
def _run_forward(
    form: Form, x: Any, p: Any, bias: Any, update: Any, norm: Norm, projection: Any
) -> dict[str, jax.Array]:
    width = x.shape[1]
    ending = 0 if update is None else update.b.shape[0]
    starting = 0 if projection is None else projection.a.shape[1]
    given = {"x": x, "p": p, "bias": bias, "scale": norm.scale, "shift": norm.shift}
    made = {"n": extended(width, starting) if starting else width}
    if p is not None:
        made["s"] = width
    if update is not None:
        given |= {"b": update.b.astype(x.dtype), "p_gate": update.gate}
        made["ended"] = ending
        if update.gate is not None:
            made["ungated"] = ending
    if projection is not None:
        given |= {"a": projection.a.astype(x.dtype), "a_gate": projection.gate}
        made["low"] = starting
        if projection.gate is not None:
            made["hidden"] = starting
    return _call(_forward_kernel, "junction", form, (width, ending, starting), given, made, x.dtype)


@functools.partial(jax.jit, static_argnums=0)
def _run_backward(
    form: Form, ds: Any, dn: Any, s: Any, update: Any, norm: Norm, projection: Any
) -> dict[str, jax.Array]:
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
        made["d_low"] = starting
    return _call(_backward_kernel, "junction_gradient", form, (width, ending, starting), given, made, s.dtype)


def _call(
    kernel: Any, name: str, form: Form, sizes: tuple[int, int, int], given: dict, made: dict[str, int], dtype: Any
) -> dict[str, jax.Array]:
    """Runs a kernel on the arrays that are there; its results by their names. made: the columns of each."""
    given = {key: value for key, value in given.items() if value is not None}
    width, ending, starting = sizes
    rows, values = form.forward if kernel is _forward_kernel else form.backward
    while rows > SMALLEST and rows * width > LARGEST:
        rows //= 2
    warps = pl.next_power_of_2(max(4, pl.cdiv(rows * width, 32 * values)))

    def run(*arrays: jax.Array) -> tuple[jax.Array, ...]:
        count = len(arrays[0])  # x or ds: on this device
        out_shape = tuple(jax.ShapeDtypeStruct((count, columns), dtype) for columns in made.values())
        return pl.pallas_call(
            functools.partial(kernel, (*given, *made), form, (rows, count, *sizes)),
            out_shape=out_shape,
            grid=(pl.cdiv(count, rows),),
            compiler_params=plgpu.CompilerParams(num_warps=warps, num_stages=1),
            cost_estimate=cost(2 * count * width * (ending + starting), (*arrays, *out_shape)),
            interpret=form.interpret,
            name=name,
        )(*arrays)

    whole = [i for i, key in enumerate(given) if key in PARAMETERS]
    return dict(zip(made, on_rows(form.mesh, run, tuple(given.values()), whole), strict=True))
