# SPDX-License-Identifier: Apache-2.0
"""The tokens of an image and the columns of a head, as the kernels of attention divide and read them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

BLOCK = 64  # tokens: whole blocks are multiples of it
TAIL = 16  # tokens that are handled apart, at most: the smallest side of a product


class Split(NamedTuple):
    """whole: tokens in whole blocks, the first ones. tail: are there more. single: is only one of those no padding.
    masked: are whole blocks not full.

    Functions of tokens take their numbers and whether some are padding, `masked`.
    """

    whole: int
    tail: bool
    single: bool
    masked: bool

    @classmethod
    def of(cls, tokens: int, stored: int) -> Split:
        """Of an image whose first tokens are real and the others padding, `stored` together."""
        whole = tokens // BLOCK * BLOCK
        if whole and stored - whole <= TAIL:
            return cls(whole, stored > whole, tokens == whole + 1, masked=False)
        padded = -(-stored // BLOCK) * BLOCK
        return cls(padded, tail=False, single=False, masked=stored % BLOCK > 0 or tokens < stored)

    def programs(self, size: int) -> int:
        """How many programs share the tokens, `size` in whole blocks, the tail in one more."""
        return self.whole // self._at_a_time(size) + (self.tail and not self._together(size))

    def of_program(
        self,
        size: int,
        function: Callable[[jax.Array, bool], None],
        of_single: Callable[[], None] | None = None,
    ) -> None:
        """function(tokens, masked) of the tokens of this program; of_single(), if given, in place of a single one."""
        own, number = self._at_a_time(size), pl.program_id(0)

        def of_tail() -> None:
            if self.single and of_single is not None:
                of_single()
            else:
                function(span(self.whole, TAIL), True)

        if not self.tail or self._together(size):
            function(span(number * own, own), self.masked)
            if self.tail:
                of_tail()
            return
        last = number == self.whole // own
        pl.when(jnp.logical_not(last))(lambda: function(span(number * own, own), False))
        pl.when(last)(of_tail)

    def over_all(self, size: int, add: Callable[[jax.Array, bool, Any], Any], start: Any) -> Any:
        """The sum of add(tokens, masked, sum) over all tokens but a single one: a tail first, then `size` at a time."""
        size = self._at_a_time(size)
        if self.tail and not self.single:
            start = add(span(self.whole, TAIL), True, start)
        if size == self.whole:
            return add(span(0, size), self.masked, start)
        return jax.lax.fori_loop(
            0, self.whole // size, lambda i, total: add(span(i * size, size), self.masked, total), start
        )

    def _at_a_time(self, size: int) -> int:
        return BLOCK if self.whole == BLOCK else math.gcd(self.whole, size)

    def _together(self, size: int) -> bool:
        """Whether the program of the only block handles a single token, too."""
        return self.single and self._at_a_time(size) == self.whole


class Head:
    """One image's rows and one head's columns of an array [B, T, parts * heads * d]."""

    def __init__(self, ref: Any, part: int, heads: int, dim: int, tokens: int) -> None:
        self.ref, self.tokens = ref, tokens
        self.image = pl.program_id(2)
        self.columns = span((part * heads + pl.program_id(1)) * dim, dim)

    def load(self, rows: jax.Array, masked: bool) -> jax.Array:
        """[rows, d], 0 for padding."""
        at = self.ref.at[self.image, rows[:, None], self.columns[None, :]]
        if not masked:
            return plgpu.load(at)
        return plgpu.load(at, mask=(rows < self.tokens)[:, None], other=0)

    def vector(self, row: int) -> jax.Array:
        """[d] of one row, float32."""
        return plgpu.load(self.ref.at[self.image, jnp.int32(row), self.columns]).astype(jnp.float32)

    def store(self, rows: jax.Array, values: jax.Array, masked: bool) -> None:
        """values [rows, d]; 0 is written to padding."""
        rows, mask = rows[:, None], None
        if masked:
            values = jnp.where(rows < self.tokens, values, 0.0)
            mask = rows < self.ref.shape[1]
        plgpu.store(self.ref.at[self.image, rows, self.columns[None, :]], values.astype(self.ref.dtype), mask=mask)

    def store_vector(self, row: int, values: jax.Array) -> None:
        """values [d] of one row; 0 is written to what is stored after it, padding."""
        rows = span(row, TAIL)
        self.store(rows, jnp.where((rows == row)[:, None], values[None, :], 0.0), True)


def span(start: Any, size: int) -> jax.Array:
    return start + jnp.arange(size, dtype=jnp.int32)
