"""Ten-fold accuracy: in each fold, pairs judged at the threshold that suits the other folds best."""

from __future__ import annotations

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.benchmarks.benchmark import FOLDS

Folds = int | np.ndarray | None  # see fold_of_each
THRESHOLDS = np.arange(0, 4, 0.01)


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


def judge_folds(distances: np.ndarray, issame: np.ndarray, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy and threshold of each fold, both float64 [F]: the first maximum of the other folds' accuracy.

    Args: distances: float [N]. issame: bool [N]. fold: int [N], 0..F-1, each with a pair.

    Thresholds between which no pair changes sides are one column of the table, named by the first of them, so that
    "first maximum" means the same as on the whole grid.
    """
    accepted_from = np.searchsorted(THRESHOLDS, distances, side="right")  # the first with distance < threshold
    columns, column = np.unique(np.append(0, accepted_from), return_inverse=True)
    thresholds = THRESHOLDS[columns[columns < len(THRESHOLDS)]]
    shape = int(fold.max()) + 1, len(columns)
    genuine, impostor = (
        np.bincount(fold[kind] * shape[1] + column[1:][kind], minlength=shape[0] * shape[1]).reshape(shape)
        for kind in (issame, ~issame)
    )
    impostors = impostor.sum(axis=1)
    right = (np.cumsum(genuine - impostor, axis=1) + impostors[:, None])[:, : len(thresholds)]
    # Counts rank the thresholds as accuracies do, and are exact, so that "first maximum" is well defined.
    best = np.argmax(right.sum(axis=0) - right, axis=1)
    return right[np.arange(shape[0]), best] / (impostors + genuine.sum(axis=1)), thresholds[best]
