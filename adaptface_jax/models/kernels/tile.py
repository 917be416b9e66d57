# SPDX-License-Identifier: Apache-2.0
"""The rows of one program of a kernel, and their columns in pieces of a power of two, as Triton wants them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

CHUNK, SMALLEST = 64, 16  # ranks that a kernel multiplies at a time: at most, and the smallest side of a product

Span = tuple[int, int]  # first, count: columns or ranks
Pieces = list[jax.Array]  # float32 [rows, columns of a piece], of the tokens of a program


class Tile:
    """The rows of one program, and the columns of its tokens in pieces of a power of two, as a kernel needs them.

    What is outside is masked, where something is.
    """

    def __init__(self, rows: int, count: int, width: int) -> None:
        self.first = pl.program_id(0) * rows
        self.rows = self.first + jnp.arange(rows, dtype=jnp.int32)
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
        return [_load(ref.at[columns], real).astype(jnp.float32)[None, :] for columns, real in self._numbers()]

    def factor(self, ref: Any, span: Span, end: int) -> list[jax.Array]:
        """[columns, span] of ref [D, R], in pieces."""
        ranks, inside = numbers_of(span, end)
        return [_load(ref.at[c[:, None], ranks[None, :]], _both(real, inside)) for c, real in self._numbers()]

    def turned(self, ref: Any, span: Span, end: int) -> list[jax.Array]:
        """[span, columns] of ref [R, D], in pieces."""
        ranks, inside = numbers_of(span, end)
        return [_load(ref.at[ranks[:, None], c[None, :]], _both(inside, real)) for c, real in self._numbers()]

    def gated(self, hidden: jax.Array, ref: Any, tokens: int, span: Span, end: int) -> jax.Array:
        """hidden [rows, span] times the gates of each row's image, ref [B, R]."""
        ranks, inside = numbers_of(span, end)
        images = jnp.minimum(self.rows, self.count - 1) // tokens
        if len(self.rows) > tokens:
            gates = _load(ref.at[images[:, None], ranks[None, :]], _both(None, inside))
        else:  # of two images at most, whose gates are read once
            last = jnp.minimum(self.first + len(self.rows), self.count) - 1
            ends = (self.first // tokens, last // tokens)
            first, other = (_load(ref.at[image, ranks], inside)[None, :] for image in ends)
            gates = jnp.where((images == ends[0])[:, None], first, other)
        return hidden * gates.astype(hidden.dtype)

    def _numbers(self) -> list[tuple[jax.Array, jax.Array | None]]:
        """The columns of each piece, and which are real."""
        return [numbers_of(piece, self.width) for piece in self.columns]

    def _columns(self, span: Span, end: int) -> tuple[jax.Array, jax.Array | None]:
        columns, inside = numbers_of(span, end)
        return columns[None, :], _both(self.valid, inside)


def _pieces(width: int) -> list[Span]:
    """The columns in equal pieces of a power of two, as kernels need them: then all have the same layout.

    At most 256: eight values of each thread of a warp, which then has whole rows and shares nothing with others. The
    last one lies beyond the width if that is no multiple of 16.
    """
    size = min(256, max(16, width & -width))
    return [(start, size) for start in range(0, width, size)]


def chunks(ranks: int) -> list[Span]:
    """The ranks in pieces of a power of two, as products want them: the largest first, the last one may lie beyond."""
    found, start = [], 0
    while start < ranks:
        size = min(CHUNK, max(SMALLEST, 1 << (ranks - start).bit_length() - 1))
        found.append((start, size))
        start += size
    return found


def numbers_of(span: Span, end: int) -> tuple[jax.Array, jax.Array | None]:
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
