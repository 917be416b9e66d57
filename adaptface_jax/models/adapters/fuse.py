"""Low-rank factors of the slices of a layer -> one pair of factors of the whole layer, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Piece(NamedTuple):
    """The update `scale * a @ b` of the k-th of n equal slices of a layer's outputs, part = (k, n).

    a: float32 [in, r]; b: float32 [r, out / n].
    """

    part: tuple[int, int]
    a: np.ndarray
    b: np.ndarray
    scale: float


def fuse(pieces: Sequence[Piece], dout: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """(a [in, R], b [R, dout]) whose update `scale * a @ b` is that of all the pieces.

    Pieces with the same `a` share its columns, others are concatenated with their `b` on a block diagonal: q, k and v
    cut from one fused layer restore its rank, adapted separately they need the sum of their ranks. Differences of
    scale go into `b`.
    """
    groups = _alike(pieces)
    a = np.concatenate([group[0].a for group in groups], axis=1)
    b = np.zeros((a.shape[1], dout), np.float32)
    row = 0
    for group in groups:
        rank = group[0].a.shape[1]
        for piece in group:
            index, count = piece.part
            width = dout // count
            factor = piece.scale / scale
            b[row : row + rank, index * width : (index + 1) * width] = piece.b if factor == 1 else piece.b * factor
        row += rank
    return a, b


def fused_rank(pieces: Sequence[Piece]) -> int:
    """R of `fuse`."""
    return sum(group[0].a.shape[1] for group in _alike(pieces))


def _alike(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """The pieces grouped by their `a`."""
    groups: list[list[Piece]] = []
    for piece in pieces:
        same = next((group for group in groups if np.array_equal(group[0].a, piece.a)), None)
        if same is None:
            groups.append([piece])
        else:
            same.append(piece)
    return groups
