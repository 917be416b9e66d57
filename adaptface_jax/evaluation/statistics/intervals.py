"""95% intervals of the figures of a benchmark: people are drawn anew, not pairs.

An interval is meant to hold the figure's expectation over draws of people and of their images in the same design: as
many people, images and pairs of each kind, the same protocol. The luck of training is not in it.

A rate's interval is normal on the logit scale, with Student's quantiles, around the rate with half an error and half
a success added to as many independent trials as have its variance (Dean and Pagano, 2015, compare such intervals for
clustered surveys). `benchmarks/statistics.py` measures what they hold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from scipy.special import expit, logit
from scipy.stats import t as student

from adaptface_jax.evaluation.statistics import influence
from adaptface_jax.evaluation.statistics.jackknife import People, Spread

CONFIDENCE = 0.95

Interval = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Intervals:
    """(low, high) of each figure, at 95%; `tar_at_far` by the FAR's name ("1e-3"), None where the figure is.

    people: how many they rest on, 0 in files of versions that resampled pairs, whose intervals are too narrow. few:
    whether these are too few to say.
    """

    accuracy: Interval
    auc: Interval
    tar_at_far: dict[str, Interval | None]
    eer: Interval | None = None
    people: int = 0
    few: bool = False


@dataclasses.dataclass(frozen=True)
class SubsetIntervals:
    """As `Intervals`, of some of the pairs; auc None where they are of one kind."""

    accuracy: Interval
    auc: Interval | None
    people: int
    few: bool


def intervals(
    distances: np.ndarray,
    issame: np.ndarray,
    right: np.ndarray,
    people: People,
    figures: tuple[float, float, float],
    tar_at_far: Mapping[str, float | None],
) -> Intervals:
    """Intervals of figures that were read from these pairs.

    Args:
      distances: float [N], small for pairs alike. issame: bool [N], both kinds present. people: of the same pairs.
      right: bool [N], whether each was judged rightly at its fold's threshold.
      figures, tar_at_far: accuracy, AUC and EER, and the TARs, as `verification.compute_metrics` gives them.
    """
    accuracy, auc, eer = figures
    around = _Around(distances, issame, people)
    genuine, impostors = np.count_nonzero(issame), np.count_nonzero(~issame)
    return Intervals(
        accuracy=around(accuracy, influence.of_rate(right, issame), len(issame), thresholds_chosen=True),
        auc=around(auc, influence.of_auc(distances, issame), min(genuine, impostors)),
        tar_at_far={
            far: None if tar is None else around(tar, influence.of_tar(distances, issame, float(far)), genuine)
            for far, tar in tar_at_far.items()
        },
        eer=around(eer, influence.of_eer(distances, issame, eer), len(issame)),
        people=people.count,
        few=people.few,
    )


def subset_intervals(
    distances: np.ndarray, issame: np.ndarray, right: np.ndarray, people: People, auc: float | None
) -> SubsetIntervals:
    """Intervals of the accuracy and AUC of some pairs, with arguments of these pairs alone, as in `intervals`."""
    around = _Around(distances, issame, people)
    kinds = np.count_nonzero(issame), np.count_nonzero(~issame)
    return SubsetIntervals(
        accuracy=around(float(right.mean()), influence.of_rate(right, issame), len(issame), thresholds_chosen=True),
        auc=None if auc is None else around(auc, influence.of_auc(distances, issame), min(kinds)),
        people=people.count,
        few=people.few,
    )


class _Around:
    """The interval of a figure of these pairs."""

    def __init__(self, distances: np.ndarray, issame: np.ndarray, people: People) -> None:
        self._distances, self._issame, self._people = distances, issame, people

    def __call__(self, rate: float, terms: np.ndarray, trials: int, thresholds_chosen: bool = False) -> Interval:
        spread = self._people.spread(terms, thresholds_chosen)
        if spread.variance > 0 and 0 < rate < 1:
            return rate_interval(rate, spread, rate * (1 - rate) / spread.variance)
        return rate_interval(rate, spread, trials / self._design_effect())

    def _design_effect(self) -> float:
        """By how much people widen the mean distance: the only hint where there is no error to count."""
        terms = influence.of_rate(self._distances, self._issame)
        alone = float(np.square(terms).sum())
        return max(1.0, self._people.spread(terms).variance / alone) if alone > 0 else 1.0


def rate_interval(rate: float, spread: Spread, trials: float) -> Interval:
    """trials: how many independent ones would vary as much; to the end where there is no error, or no success."""
    middle = (rate * trials + 0.5) / (trials + 1)
    half = quantile(spread) / np.sqrt((trials + 1) * middle * (1 - middle))
    low, high = (float(expit(logit(middle) + step)) for step in (-half, half))
    return (0.0 if rate <= 0 else min(low, rate)), (1.0 if rate >= 1 else max(high, rate))


def quantile(spread: Spread) -> float:
    """Student's, in standard errors on either side."""
    return float(student.ppf((1 + CONFIDENCE) / 2, spread.degrees))
