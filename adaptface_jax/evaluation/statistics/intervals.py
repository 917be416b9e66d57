"""95% intervals of the metrics of a benchmark: over draws of people, not of pairs.

An interval covers the metric's expectation over draws of people and of their images in the same design: as many
people, images and pairs of each kind, the same protocol. The variance of training is not included.

A rate's interval is normal on the logit scale, with Student's quantiles, around the rate with half an error and half
a success added to the number of independent trials with its variance (Dean and Pagano, 2015, compare such intervals
for clustered surveys). `benchmarks/statistics.py` measures their coverage.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping

import numpy as np
from scipy.special import expit, logit, stdtrit

from adaptface_jax.evaluation.statistics import influence
from adaptface_jax.evaluation.statistics.jackknife import People, Spread, resting_on

CONFIDENCE = 0.95
_PRIOR_CARRIERS = 0.25  # of the usual spread: chosen by simulation

Interval = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Intervals:
    """(low, high) of each metric, at 95%; `tar_at_far` by the FAR's name ("1e-3"), None where the metric is.

    people: how many they are based on, 0 in files of versions that resampled pairs, whose intervals are too narrow.
    few: whether these are too few for a conclusion.
    """

    accuracy: Interval
    auc: Interval
    tar_at_far: dict[str, Interval | None]
    eer: Interval | None = None
    people: int = 0
    few: bool = False

    @property
    def resting_on(self) -> str:
        """The number of people, in words."""
        return resting_on(self.people, self.few)


@dataclasses.dataclass(frozen=True)
class SubsetIntervals:
    """As `Intervals`, for some of the pairs; auc None if they are of one kind."""

    accuracy: Interval
    auc: Interval | None
    people: int
    few: bool

    @property
    def resting_on(self) -> str:
        """The number of people, in words."""
        return resting_on(self.people, self.few)


def intervals(
    distances: np.ndarray,
    issame: np.ndarray,
    right: np.ndarray,
    people: People,
    figures: tuple[float, float, float],
    tar_at_far: Mapping[str, float | None],
) -> Intervals:
    """Intervals of metrics of these pairs.

    Args:
      distances: float [N], small for similar pairs. issame: bool [N], both kinds present. people: of the same pairs.
      right: bool [N], whether each was decided correctly at its fold's threshold.
      figures, tar_at_far: accuracy, AUC and EER, and the TARs, from `verification.compute_metrics`.
    """
    accuracy, auc, eer = figures
    around = Around(distances, issame, people)
    genuine = int(np.count_nonzero(issame))
    return Intervals(
        accuracy=around.share(accuracy, influence.of_rate(right, issame), len(issame), thresholds_chosen=True),
        auc=around.area(auc, influence.of_auc(distances, issame), min(genuine, len(issame) - genuine)),
        tar_at_far={
            far: None if tar is None else around.share(tar, influence.of_tar(distances, issame, float(far)), genuine)
            for far, tar in tar_at_far.items()
        },
        eer=around.area(eer, influence.of_eer(distances, issame, eer), len(issame)),
        people=people.count,
        few=people.few,
    )


def subset_intervals(
    distances: np.ndarray, issame: np.ndarray, right: np.ndarray, people: People, auc: float | None
) -> SubsetIntervals:
    """Intervals of the accuracy and AUC of some pairs; the arguments, as in `intervals`, are of these pairs only."""
    around = Around(distances, issame, people)
    accuracy, genuine = float(right.mean()), int(np.count_nonzero(issame))
    return SubsetIntervals(
        accuracy=around.share(accuracy, influence.of_rate(right, issame), len(issame), thresholds_chosen=True),
        auc=None
        if auc is None
        else around.area(auc, influence.of_auc(distances, issame), min(genuine, len(issame) - genuine)),
        people=people.count,
        few=people.few,
    )


def false_accepts(
    distances: np.ndarray, issame: np.ndarray, people: People, threshold: float
) -> tuple[float, Interval]:
    """The share of the impostor pairs below a threshold, and its interval; arguments as in `intervals`."""
    accepted, impostors = distances < threshold, int(np.count_nonzero(~issame))
    rate = float(accepted[~issame].mean())
    terms = np.where(issame, 0.0, (accepted - rate) / impostors)
    return rate, Around(distances, issame, people).share(rate, terms, impostors)


class Around:
    """The intervals of metrics of these pairs."""

    def __init__(self, distances: np.ndarray, issame: np.ndarray, people: People) -> None:
        self._distances, self._issame, self._people = distances, issame, people

    def share(self, rate: float, terms: np.ndarray, trials: int, thresholds_chosen: bool = False) -> Interval:
        """The interval of a share of `trials` pairs, at thresholds; terms: its influence, float [N]."""
        spread = self._people.spread(terms, True, thresholds_chosen)
        independent = _independent(rate, spread.variance) or trials / self._design_effect
        return rate_interval(rate, spread, independent)

    def area(self, rate: float, terms: np.ndarray, trials: int) -> Interval:
        """The interval of a metric of the whole curve.

        If it depends on a few people, the others may be easy by chance, and the contributions of the few underestimate
        its spread: a part of the spread, the smaller the more people contribute, is therefore that of the mean
        distance, to which all of them contribute.
        """
        spread = self._people.spread(terms)
        if not (0 < rate < 1 and spread.variance > 0):
            return rate_interval(rate, spread, trials / self._design_effect)
        usual = max(spread.variance, spread.alone * self._design_effect)
        # If the contributions of each person cancel out, nobody contributes.
        weight = spread.carriers / (spread.carriers + _PRIOR_CARRIERS) if math.isfinite(spread.carriers) else 0.0
        variance = weight * spread.variance + (1 - weight) * usual
        return rate_interval(rate, spread, _independent(rate, variance), math.sqrt(variance))

    @functools.cached_property
    def _design_effect(self) -> float:
        """The variance of the mean distance relative to that of independent pairs."""
        spread = self._people.spread(influence.of_rate(self._distances, self._issame))
        return max(1.0, spread.variance / spread.alone) if spread.alone > 0 else 1.0


def _independent(rate: float, variance: float) -> float:
    """The number of independent trials whose share has this variance; 0 if there is no error, or no success."""
    return rate * (1 - rate) / variance if variance > 0 else 0.0


def rate_interval(rate: float, spread: Spread, trials: float, error: float | None = None) -> Interval:
    """trials: the number of independent ones with the same variance. error: the standard error of `rate`, if not that
    of these trials with half an error added. Extends to the end if there is no error, or no success."""
    middle = (rate * trials + 0.5) / (trials + 1)
    scale = 1 / math.sqrt((trials + 1) * middle * (1 - middle)) if error is None else error / (rate * (1 - rate))
    half = quantile(spread) * scale
    low, high = (float(expit(logit(middle) + step)) for step in (-half, half))
    return (0.0 if rate <= 0 else min(low, rate)), (1.0 if rate >= 1 else max(high, rate))


def quantile(spread: Spread) -> float:
    """Student's quantile, in standard errors on either side."""
    return float(stdtrit(spread.degrees, (1 + CONFIDENCE) / 2))
