# SPDX-License-Identifier: Apache-2.0
"""Ten-fold accuracy: in each fold, pairs are judged at the threshold that is best on the other folds.

Folds that a list gives are kept, unless it is a single one (LFW's pairsDevTest.txt), which leaves no other to take a
threshold from. Without any, they are contiguous tenths in file order, as in LFW's protocol and
InsightFace's evaluation of a pack, if every tenth has at least half its even share of genuine and of impostor pairs.
Otherwise (a list sorted by truth, or of few pairs) they are stratified: the genuine pairs are cut into contiguous
tenths, and so are the impostor pairs. For pairs in LFW's order the two are the same.
"""

from __future__ import annotations

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural
from adaptface_jax.data.benchmarks.benchmark import FOLDS

Folds = int | np.ndarray | None  # see fold_of_each
THRESHOLDS = np.arange(0, 4, 0.01)
EVEN = 0.5  # of its even share of a kind, the least that a tenth in file order may have


def fold_of_each(folds: Folds, issame: np.ndarray) -> np.ndarray:
    """The fold of each pair, int [N] in 0..F-1.

    folds: None for the rule above; the number of contiguous ones, sizes differing by at most one; or int [N], any
      numbers for folds; a single one is as None. issame: bool [N].
    Raises InputError for less than two folds or more than pairs, for an array of another shape or type, and without
    folds where there are not two pairs of each kind.
    """
    issame = np.asarray(issame, bool)
    pairs = len(issame)
    if isinstance(folds, np.ndarray):
        if folds.shape != (pairs,) or not np.issubdtype(folds.dtype, np.integer):
            raise InputError(f"folds: {folds.dtype} of shape {folds.shape}; expected one integer per pair, ({pairs},)")
        if not _single(folds):
            return np.unique(folds, return_inverse=True)[1]
    elif folds is not None:
        if not 2 <= folds <= pairs:
            raise InputError(f"folds: {folds} for {pairs} pairs; expected 2..{pairs} (the protocol has {FOLDS})")
        return _contiguous(pairs, folds)
    return _stratified(issame) if tenths_are_uneven(issame) else _contiguous(pairs, FOLDS)


def check_folds(name: str, folds: Folds, issame: np.ndarray) -> None:
    """Raises InputError, naming the benchmark, where `fold_of_each` does."""
    try:
        fold_of_each(folds, issame)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def tenths_are_uneven(issame: np.ndarray) -> bool:
    """Whether some tenth in file order has less than EVEN of its even share of one kind. issame: bool [N]."""
    pairs, genuine = len(issame), int(np.sum(issame))
    if pairs < FOLDS:
        return True
    sizes, held = np.bincount(tenth := _contiguous(pairs, FOLDS)), np.bincount(tenth, issame)
    shares = held * pairs / max(genuine, 1), (sizes - held) * pairs / max(pairs - genuine, 1)
    return bool((np.minimum(*shares) < EVEN * sizes).any())


def folds_line(folds: Folds, issame: np.ndarray) -> str:
    """A remark on the folds of pairs that `fold_of_each` chooses, in one line; empty if there is none."""
    fold = fold_of_each(folds, issame)
    count = int(fold.max()) + 1
    single = isinstance(folds, np.ndarray) and _single(folds)
    if isinstance(folds, np.ndarray) and not single:
        held = np.bincount(fold, issame) / np.bincount(fold)
        lone = int(((held == 0) | (held == 1)).sum())
        return f"{lone} of the list's own {plural(count, 'fold')} have pairs of one kind only" if lone else ""
    if (folds is None or single) and tenths_are_uneven(issame):
        fewer = "" if count == FOLDS else f", only {count} of them, since there are no more pairs of one kind"
        reason = "the list puts all pairs in one fold, and " if single else ""
        reason += "tenths in file order have uneven shares of the two kinds (a sorted list?)"
        return f"{reason}: folds are stratified{fewer}"
    return "the list puts all pairs in one fold: tenths in file order are the folds" if single else ""


def _single(folds: np.ndarray) -> bool:
    return bool((folds == folds[:1]).all())


def _contiguous(pairs: int, count: int) -> np.ndarray:
    return np.repeat(np.arange(count), [len(part) for part in np.array_split(np.arange(pairs), count)])


def _stratified(issame: np.ndarray) -> np.ndarray:
    genuine = int(np.sum(issame))
    count = min(FOLDS, genuine, len(issame) - genuine)
    if count < 2:
        raise InputError(
            f"folds: {genuine} genuine and {len(issame) - genuine} impostor pairs; expected at least two of each kind, "
            "so that folds can be evaluated (`adaptface verify` compares two images)"
        )
    fold = np.empty(len(issame), np.int64)
    for kind in (issame, ~issame):
        fold[kind] = _contiguous(int(kind.sum()), count)
    return fold


def judge_folds(distances: np.ndarray, issame: np.ndarray, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy and threshold of each fold, both float64 [F]: the first maximum of the other folds' accuracy.

    Args: distances: float [N]. issame: bool [N]. fold: int [N], 0..F-1, each with a pair.

    Thresholds with the same decisions for all pairs share one column of the table, named by the first, so that
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
