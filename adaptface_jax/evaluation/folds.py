"""Ten-fold accuracy: in each fold, pairs judged at the threshold that suits the other folds best."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.benchmarks.benchmark import FOLDS

Folds = int | np.ndarray | None  # see fold_of_each
THRESHOLDS = np.arange(0, 4, 0.01)

_CELLS = 1 << 21  # of the table at a time


def fold_of_each(folds: Folds, pairs: int) -> np.ndarray:
    """The fold of each pair, int [N] in 0..F-1.

    folds: how many contiguous ones, sizes differing by at most one (None: ten); or int [N], any numbers for folds.
    Raises InputError for more folds than pairs, and for an array of another shape or type.
    """
    if isinstance(folds, np.ndarray):
        if folds.shape != (pairs,) or not np.issubdtype(folds.dtype, np.integer):
            raise InputError(f"folds: {folds.dtype} of shape {folds.shape}; expected one integer a pair, ({pairs},)")
        return np.unique(folds, return_inverse=True)[1]
    count = FOLDS if folds is None else folds
    if not 1 <= count <= pairs:
        raise InputError(f"folds: {count} for {pairs} pairs; expected 1..{pairs} (the protocol has {FOLDS})")
    return np.repeat(np.arange(count), [len(part) for part in np.array_split(np.arange(pairs), count)])


class FoldTable:
    """How many pairs of each fold every threshold of the grid judges rightly, for any weighting of the pairs.

    Thresholds between which no pair changes sides are one column, named by the first of them, so that "first maximum"
    means the same as on the whole grid.

    distances: float [N]. issame: bool [N]. fold: int [N], 0..F-1.
    orders: the genuine pairs (numbered among themselves), and the impostor pairs, in the order that `judge` counts
      them in: by fold, then by distance.
    """

    def __init__(self, distances: np.ndarray, issame: np.ndarray, fold: np.ndarray) -> None:
        self._folds = int(fold.max()) + 1
        accepted_from = np.searchsorted(THRESHOLDS, distances, side="right")  # the first with distance < threshold
        columns, column = np.unique(np.append(0, accepted_from), return_inverse=True)
        self._width = len(columns)
        self._thresholds = THRESHOLDS[columns[columns < len(THRESHOLDS)]]
        cell = fold * self._width + column[1:]
        cells = [cell[kind] for kind in (issame, ~issame)]
        self.orders = [np.argsort(of_kind, kind="stable") for of_kind in cells]
        self._cells = [np.unique(of_kind, return_counts=True) for of_kind in cells]

    def judge(self, genuine: np.ndarray, impostor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Accuracy and threshold of each fold, both float64 [B, F]; the accuracy of a fold without pairs is NaN.

        genuine, impostor: how often each pair counts, integers [B, genuine pairs] and [B, impostor pairs], in `orders`.
        """
        found = [self._judge(*part) for part in self._parts(genuine, impostor)]
        accuracies, best = (np.concatenate(values) for values in zip(*found, strict=True))
        return accuracies, self._thresholds[best]

    def judge_once(self, genuine: np.ndarray, impostor: np.ndarray) -> np.ndarray:
        """Accuracy of each fold as `judge` gives it, [B, F], but only for choosing thresholds do pairs count as often
        as that; at the chosen ones every pair is judged once."""
        right, size = self._right(*(np.ones((1, count.shape[1]), np.uint8) for count in (genuine, impostor)))
        best = np.concatenate([self._judge(*part)[1] for part in self._parts(genuine, impostor)])
        return _share(right[0][np.arange(self._folds), best], size)

    def _parts(self, genuine: np.ndarray, impostor: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rows = max(1, _CELLS // (self._folds * self._width))
        for i in range(0, len(genuine), rows):
            yield genuine[i : i + rows], impostor[i : i + rows]

    def _judge(self, genuine: np.ndarray, impostor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Accuracy [B, F], and the chosen threshold's column [B, F]."""
        right, size = self._right(genuine, impostor)
        # Counts rank the thresholds as accuracies do, and are exact, so that "first maximum" is well defined.
        best = np.argmax(right.sum(axis=1, keepdims=True) - right, axis=2)
        return _share(np.take_along_axis(right, best[:, :, None], axis=2)[:, :, 0], size), best

    def _right(self, genuine: np.ndarray, impostor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many are judged rightly at each threshold, int32 [B, F, thresholds], and of how many, [B, F]."""
        shape = (len(genuine), self._folds, self._width)
        accepted, falsely = (_by_cell(*pair, shape) for pair in zip(self._cells, (genuine, impostor), strict=True))
        impostors = falsely.sum(axis=2)
        right = np.cumsum(accepted - falsely, axis=2, dtype=np.int32)[:, :, : len(self._thresholds)]
        right += impostors[:, :, None]
        return right, impostors + accepted.sum(axis=2)


def _share(part: np.ndarray, size: np.ndarray) -> np.ndarray:
    """part / size, NaN where that is nothing."""
    return np.divide(part, size, out=np.full(part.shape, np.nan), where=size > 0)


def _by_cell(cells: tuple[np.ndarray, np.ndarray], counts: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sums of `counts` over the pairs of each cell of the table, int32 [B, F, W]."""
    place, sizes = cells
    table = np.zeros((shape[0], shape[1] * shape[2]), np.int32)
    if len(place):
        starts = np.append(0, np.cumsum(sizes)[:-1])
        table[:, place] = np.add.reduceat(counts, starts, axis=1, dtype=np.int32)
    return table.reshape(shape)
