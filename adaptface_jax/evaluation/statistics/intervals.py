"""95% intervals by resampling the pairs of a benchmark.

Efron and Tibshirani, "An Introduction to the Bootstrap", 1993: 1,000 resamples. Genuine and impostor pairs are drawn
apart, since a protocol fixes how many there are of each; a drawn pair stays in its fold.

Accuracy and TAR are proportions at thresholds that were chosen. The resamples say which thresholds might have been
chosen; at each of them the pairs are judged once, and count by Jeffreys' interval of a proportion. (Percentiles alone
are too wide for an accuracy, as a resample's threshold is off by its own luck and by that of the pairs; and where
errors are few they are too narrow, or nothing at all.) The AUC has the normal interval of its logit, with the standard
deviation of the resamples.

Images that several pairs share make pairs depend on each other, which no resampling of pairs can see.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping

import numpy as np
from scipy.stats import norm

from adaptface_jax.evaluation.folds import FoldTable

RESAMPLES = 1000
CONFIDENCE = 0.95
_Z = float(norm.ppf((1 + CONFIDENCE) / 2))
_BLOCK = 1 << 18  # numbers at a time: what stays in a processor's cache

Interval = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Intervals:
    """(low, high) of each figure, at 95%; `tar_at_far` by the FAR's name ("1e-3"), None where the figure is."""

    accuracy: Interval
    auc: Interval
    tar_at_far: dict[str, Interval | None]


def intervals(
    distances: np.ndarray,
    issame: np.ndarray,
    table: FoldTable,
    accuracy: float,
    auc: float,
    tar_at_far: Mapping[str, float | None],
) -> Intervals:
    """Intervals of figures that were read from these pairs.

    Args:
      distances: float [N], small for pairs alike. issame: bool [N], both kinds present. table: of the same pairs.
      accuracy, auc, tar_at_far: the figures, as `verification.compute_metrics` gives them.
    """
    genuine, impostor = np.sort(distances[issame]), np.sort(distances[~issame])
    ranks = Ranks(genuine, impostor)
    wanted = [name for name, tar in tar_at_far.items() if tar is not None]
    fars = [float(name) for name in wanted]
    drawn: list[list[np.ndarray]] = [[] for _ in range(2 + len(wanted))]
    for counts in resamples(len(genuine), len(impostor)):
        # Positions of a resample are exchangeable: one draw serves pairs ordered by fold and pairs ordered by distance.
        values = np.nanmean(table.judge_once(*counts), axis=1), *ranks.auc_and_accepted(*counts, fars)
        for column, found in zip(drawn, values, strict=True):
            column.append(found)
    accuracies, areas, *accepted = (np.concatenate(column) for column in drawn)
    tars: dict[str, Interval | None] = dict.fromkeys(tar_at_far)
    for name, numbers in zip(wanted, accepted, strict=True):
        tars[name] = rate_interval(numbers / len(genuine), len(genuine), tar_at_far[name] or 0.0)
    return Intervals(
        accuracy=rate_interval(accuracies, len(distances), accuracy),
        auc=logit_interval(auc, float(areas.std()), min(len(genuine), len(impostor))),
        tar_at_far=tars,
    )


class Ranks:
    """What depends on the order of the pairs alone, for any weighting of them.

    genuine, impostor: their distances, ascending.
    """

    def __init__(self, genuine: np.ndarray, impostor: np.ndarray) -> None:
        self._nearer = np.searchsorted(impostor, genuine, side="left")
        self._not_farther = np.searchsorted(impostor, genuine, side="right")
        self._tied = not np.array_equal(self._nearer, self._not_farther)
        # Genuine pairs nearer than each impostor pair; all of them where no impostor pair is refused.
        self._accepted = np.append(np.searchsorted(genuine, impostor, side="left"), len(genuine))

    def auc_and_accepted(self, genuine: np.ndarray, impostor: np.ndarray, fars: list[float]) -> list[np.ndarray]:
        """AUC, float64 [B], then for each FAR how many of the genuine pairs, each taken once, the threshold accepts
        at which so much of the impostor pairs is accepted, int [B].

        genuine, impostor: how often each pair counts, integers [B, pairs of the kind], in ascending order of distance.
        """
        up_to = _running(impostor)
        total, false = int(up_to[0, -1]), up_to[:, 1:]
        worse = up_to[:, self._nearer].astype(np.float32)
        if self._tied:
            worse = (worse + up_to[:, self._not_farther]) / 2
        genuines = int(genuine[0].sum())
        weighted = np.einsum("bn,bn->b", genuine.astype(np.float32), worse, dtype=np.float64)
        found = [1.0 - weighted / (genuines * total)]
        for far in fars:
            last = np.count_nonzero(false <= math.floor(far * total + 1e-9), axis=1)
            found.append(self._accepted[last])
        return found


def resamples(genuine: int, impostors: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """How often each pair is drawn, uint8 [b, genuine] and [b, impostors], in blocks of b, RESAMPLES rows in all.

    The same arguments give the same draws, always.
    """
    rows = min(RESAMPLES, max(1, _BLOCK // max(genuine, impostors)))
    for start in range(0, RESAMPLES, rows):
        count = min(rows, RESAMPLES - start)
        yield _drawn(genuine, count, start, 0), _drawn(impostors, count, start, 1)


@functools.lru_cache(maxsize=128)  # benchmarks of one size share their draws; at most 128 * _BLOCK bytes
def _drawn(size: int, rows: int, start: int, kind: int) -> np.ndarray:
    rng = np.random.default_rng([size, start, kind])
    numbers = rng.integers(0, size, (rows, size), np.uint16 if size <= 1 << 16 else np.uint32)
    flat = numbers + np.arange(0, rows * size, size)[:, None]
    counts = np.bincount(flat.ravel(), minlength=rows * size).astype(np.uint8).reshape(rows, size)
    counts.setflags(write=False)
    return counts


def _running(counts: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1 .. n columns, int32 [B, n + 1]."""
    sums = np.zeros((len(counts), counts.shape[1] + 1), np.int32)
    np.cumsum(counts, axis=1, dtype=np.int32, out=sums[:, 1:])
    return sums


def logit_interval(rate: float, error: float, trials: int) -> Interval:
    """The normal interval of log(rate / (1 - rate)), taken back: near 1, where AUCs are, percentiles hold too little
    (83% in simulations with AUC 0.9999), for a resample of few errors seldom has more of them.

    error: standard error of `rate`. trials: for Wilson's interval of a rate of exactly 0 or 1. The variance of an AUC
    is at most that of a rate of min(genuine, impostor) trials.
    """
    if rate in (0.0, 1.0):
        return wilson(rate, trials)
    middle, half = math.log(rate / (1 - rate)), _Z * error / (rate * (1 - rate))
    low, high = (1 / (1 + math.exp(-min(max(end, -500.0), 500.0))) for end in (middle - half, middle + half))
    return low, high


def rate_interval(rates: np.ndarray, trials: int, rate: float) -> Interval:
    """The interval of a rate of `trials` whose threshold is uncertain too.

    rates: at each of the thresholds that may be the true one, float [B]. rate: the figure.
    The middle 95% of the mixture of Jeffreys' posteriors, Beta(successes + 1/2, failures + 1/2); to the end where there
    are no others (Brown, Cai and DasGupta, "Interval estimation for a binomial proportion", 2001).
    """
    draws = np.random.default_rng(0).beta(trials * rates + 0.5, trials * (1 - rates) + 0.5, (10, len(rates)))
    low, high = (float(end) for end in np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]))
    return (0.0 if rate == 0 else min(low, rate)), (1.0 if rate == 1 else max(high, rate))


def wilson(rate: float, trials: int) -> Interval:
    """The score interval of a proportion (Wilson, 1927)."""
    centre = (rate + _Z * _Z / (2 * trials)) / (1 + _Z * _Z / trials)
    half = math.sqrt(rate * (1 - rate) / trials + _Z * _Z / (4 * trials * trials)) * _Z / (1 + _Z * _Z / trials)
    return (0.0 if rate == 0 else centre - half), (1.0 if rate == 1 else centre + half)
