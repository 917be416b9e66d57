"""Are two models really different on a benchmark? The same pairs were judged by both, so the test is a paired one.

Accuracy: McNemar's test (1947), exact, on the pairs that only one of the two judged rightly, each at its fold's
threshold. It takes decisions for independent, but a threshold moves all decisions of its fold at once: in simulations
it calls 8% of equal models different. So the same pairs are also resampled for both models, thresholds chosen anew; the
larger p-value of the two counts, and the wider ends of the two intervals (McNemar's is Agresti and Min's, 2005).
AUC: DeLong, DeLong and Clarke-Pearson (1988).

All take pairs for independent. Where pairs share images that is not quite so, and a difference between two trainings
also holds the luck of their seeds: a small p-value says that these two models differ on such pairs, not which recipe
is better.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from scipy.stats import binomtest, norm

from adaptface_jax.core.errors import InputError
from adaptface_jax.evaluation.folds import FoldTable, fold_of_each
from adaptface_jax.evaluation.pair_scores import PairScores
from adaptface_jax.evaluation.statistics.intervals import resamples

_Z = float(norm.ppf(0.975))


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The second model minus the first, as fractions; intervals are 95%, p-values two-sided.

    accuracy_difference: of the ten-fold accuracies.
    only_first, only_second: pairs that only this model judged rightly.
    """

    pairs: int
    accuracy_difference: float
    accuracy_interval: tuple[float, float]
    accuracy_p: float
    only_first: int
    only_second: int
    auc_difference: float
    auc_interval: tuple[float, float]
    auc_p: float

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def compare(first: PairScores, second: PairScores) -> Comparison:
    """Raises InputError unless both are scores of the same pairs."""
    if not (np.array_equal(first.index, second.index) and np.array_equal(first.issame, second.issame)):
        raise InputError(
            f"the runs were verified on different pairs ({len(first.issame)} and {len(second.issame)}); "
            "evaluate both on one benchmark to compare them"
        )
    pairs = len(first.issame)
    difference, spread = _resampled(first, second)
    only_first = int(np.count_nonzero(first.right & ~second.right))
    only_second = int(np.count_nonzero(second.right & ~first.right))
    differing = only_first + only_second
    low, high = _agresti_min(only_first, only_second, pairs)
    auc_difference, error = _delong(first, second)
    return Comparison(
        pairs=pairs,
        accuracy_difference=difference,
        accuracy_interval=(
            max(-1.0, min(low, difference - _Z * spread)),
            min(1.0, max(high, difference + _Z * spread)),
        ),
        accuracy_p=max(float(binomtest(only_second, differing).pvalue), _p(difference, spread)) if differing else 1.0,
        only_first=only_first,
        only_second=only_second,
        auc_difference=auc_difference,
        auc_interval=(auc_difference - _Z * error, auc_difference + _Z * error),
        auc_p=_p(auc_difference, error),
    )


def _agresti_min(only_first: int, only_second: int, pairs: int) -> tuple[float, float]:
    """Wald's interval of the difference with half a pair added to each of the four cells."""
    first, second, total = only_first + 0.5, only_second + 0.5, pairs + 2
    middle = (second - first) / total
    half = _Z * math.sqrt(first + second - (second - first) ** 2 / total) / total
    return middle - half, middle + half


def _resampled(first: PairScores, second: PairScores) -> tuple[float, float]:
    """Ten-fold accuracy of the second minus that of the first, and its standard error by bootstrap."""
    issame, fold = first.issame, fold_of_each(first.fold, len(first.issame))
    tables = [FoldTable(scores.distance, issame, fold) for scores in (first, second)]

    def differences(genuine: np.ndarray, impostor: np.ndarray) -> np.ndarray:
        found = [
            np.nanmean(table.judge(genuine[:, table.orders[0]], impostor[:, table.orders[1]])[0], axis=1)
            for table in tables
        ]
        return found[1] - found[0]

    kinds = [int(np.count_nonzero(kind)) for kind in (issame, ~issame)]
    (difference,) = differences(*[np.ones((1, count), np.int32) for count in kinds])
    return float(difference), float(np.concatenate([differences(*drawn) for drawn in resamples(*kinds)]).std())


def _p(difference: float, error: float) -> float:
    """Two-sided, of a difference that is normal around 0 if there is none."""
    return float(2 * norm.sf(abs(difference) / error)) if error > 0 else float(difference == 0)


def _delong(first: PairScores, second: PairScores) -> tuple[float, float]:
    """AUC of the second minus that of the first, and its standard error."""
    ours, theirs = _placements(first), _placements(second)
    by_genuine, by_impostor = theirs[0] - ours[0], theirs[1] - ours[1]
    variance = sum(values.var(ddof=1) / len(values) for values in (by_genuine, by_impostor) if len(values) > 1)
    return float(by_genuine.mean()), math.sqrt(variance)


def _placements(scores: PairScores) -> tuple[np.ndarray, np.ndarray]:
    """For each genuine pair the share of impostor pairs that are farther, and for each impostor pair the share of
    genuine pairs that are nearer, ties counting half; the mean of either is the AUC."""
    genuine, impostor = np.sort(scores.distance[scores.issame]), np.sort(scores.distance[~scores.issame])
    nearer = [np.searchsorted(genuine, scores.distance[~scores.issame], side) for side in ("left", "right")]
    passed = [np.searchsorted(impostor, scores.distance[scores.issame], side) for side in ("left", "right")]
    return 1 - sum(passed) / (2 * len(impostor)), sum(nearer) / (2 * len(genuine))
