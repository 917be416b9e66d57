"""Paired tests: do two models, or two recipes over several seeds, differ on the same pairs?

The effect of each pair on the difference of two metrics is summed by person, as for one metric (see `jackknife`), and
the difference is tested with Student's t. With one run on each side a small p-value means that these two trainings
differ on such people, not which recipe is better. Runs over seeds, paired by seed, show that: the variances of their
mean difference over people and over seeds are added, and their interaction, which is in both, is subtracted once
(Cameron, Gelbach and Miller, 2011); the degrees of freedom are Satterthwaite's (1946).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import stdtr

from adaptface_jax.core.errors import InputError
from adaptface_jax.evaluation.folds import fold_of_each
from adaptface_jax.evaluation.pair_scores import PairScores
from adaptface_jax.evaluation.roc import roc_curve
from adaptface_jax.evaluation.statistics import influence
from adaptface_jax.evaluation.statistics.intervals import Interval, quantile
from adaptface_jax.evaluation.statistics.jackknife import People, Spread
from adaptface_jax.evaluation.statistics.people import people_of


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The second model minus the first, as fractions; intervals are 95%, p-values two-sided.

    accuracy_difference: of the ten-fold accuracies; in a domain, of its pairs at the folds' thresholds.
    only_first, only_second: pairs that only this model decided correctly, summed over seeds.
    people: how many it is based on. few: whether these are too few to call a difference real. seeds: runs on each
    side. domains: name -> the same for its pairs, if they are of both kinds.
    """

    pairs: int
    accuracy_difference: float
    accuracy_interval: Interval
    accuracy_p: float
    only_first: int
    only_second: int
    auc_difference: float
    auc_interval: Interval
    auc_p: float
    people: int
    few: bool
    seeds: int = 1
    domains: dict[str, Comparison] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def compare(first: PairScores, second: PairScores) -> Comparison:
    """Compares two runs. Raises InputError unless both are scores of the same pairs."""
    return compare_seeds([first], [second])


def same_pairs(first: PairScores, second: PairScores) -> bool:
    """Whether both are scores of the same pairs."""
    return np.array_equal(first.index, second.index) and np.array_equal(first.issame, second.issame)


def changes(before: Mapping[str, PairScores], after: Mapping[str, PairScores]) -> dict[str, Comparison]:
    """Benchmark -> the comparison, for those where both have scores of the same pairs."""
    return {
        name: compare(before[name], scores)
        for name, scores in after.items()
        if name in before and same_pairs(before[name], scores)
    }


def compare_seeds(first: Sequence[PairScores], second: Sequence[PairScores]) -> Comparison:
    """Compares two recipes, run with the same seeds in the same order. Raises InputError for different pairs."""
    one = first[0]
    for other in (*first, *second):
        if not same_pairs(one, other):
            raise InputError(
                f"the runs were verified on different pairs ({len(one.issame)} and {len(other.issame)}); "
                "evaluate both on the same benchmark to compare them"
            )
    person = people_of(one.index, one.issame, one.person)
    everything = np.ones(len(one.issame), bool)
    fold = fold_of_each(one.fold, one.issame)
    whole = _compare(first, second, person, everything, lambda right: _ten_fold(right, fold))
    domains = {}
    for name, chosen in one.domains().items():
        kinds = one.issame[chosen]
        if kinds.any() and not kinds.all():
            domains[name] = _compare(first, second, person, chosen, lambda right: float(right.mean()))
    return dataclasses.replace(whole, domains=domains)


def _compare(
    first: Sequence[PairScores],
    second: Sequence[PairScores],
    person: np.ndarray,
    chosen: np.ndarray,
    accuracy: Callable[[np.ndarray], float],
) -> Comparison:
    issame = first[0].issame[chosen]
    people = People(first[0].index.reshape(-1, 2)[chosen].ravel(), issame, person)
    rights, areas = [], []
    accuracies, aucs = [], []
    only = np.zeros(2, int)
    for one, two in zip(first, second, strict=True):
        judged = [scores.right[chosen] for scores in (one, two)]
        placed = [influence.of_auc(scores.distance[chosen], issame) for scores in (one, two)]
        accuracies.append(accuracy(judged[1]) - accuracy(judged[0]))
        before, after = (roc_curve(scores.distance[chosen], issame).auc() for scores in (one, two))
        aucs.append(after - before)
        rights.append(influence.of_rate(judged[1].astype(float) - judged[0], issame))
        areas.append(placed[1] - placed[0])
        only += [np.count_nonzero(judged[0] & ~judged[1]), np.count_nonzero(judged[1] & ~judged[0])]
    # One pair more or less is always possible.
    accuracy_spread = _over_seeds(people, rights, accuracies, True, len(issame) ** -2.0)
    auc_spread = _over_seeds(people, areas, aucs)
    return Comparison(
        pairs=len(issame),
        accuracy_difference=float(np.mean(accuracies)),
        accuracy_interval=_interval(float(np.mean(accuracies)), accuracy_spread),
        accuracy_p=_p(float(np.mean(accuracies)), accuracy_spread),
        only_first=int(only[0]),
        only_second=int(only[1]),
        auc_difference=float(np.mean(aucs)),
        auc_interval=_interval(float(np.mean(aucs)), auc_spread),
        auc_p=_p(float(np.mean(aucs)), auc_spread),
        people=people.count,
        few=people.few,
        seeds=len(first),
    )


def _over_seeds(
    people: People,
    influences: Sequence[np.ndarray],
    differences: Sequence[float],
    of_decisions: bool = False,
    least: float = 0.0,
) -> Spread:
    """Of the mean difference over people and seeds. influences, differences: of each seed. least: minimal variance."""
    seeds, mean = len(differences), np.mean(influences, axis=0)
    of_people = people.spread(mean, of_decisions, of_decisions)
    variance = of_people.variance + least
    if seeds == 1:
        return dataclasses.replace(of_people, variance=variance)
    of_seeds = float(np.var(differences, ddof=1)) / seeds
    if variance + of_seeds == 0:
        return of_people
    # Of each seed's deviation from the others, and of their mean.
    in_both = sum(people.spread(one - mean, of_decisions, of_decisions).variance for one in influences) / (
        seeds * (seeds - 1)
    )
    total = max(variance + of_seeds - in_both, variance, of_seeds)
    degrees = total**2 / (variance**2 / of_people.degrees + of_seeds**2 / (seeds - 1))
    return Spread(total, max(1.0, degrees))


def _interval(difference: float, spread: Spread) -> Interval:
    half = quantile(spread) * math.sqrt(spread.variance)
    return max(-1.0, difference - half), min(1.0, difference + half)


def _p(difference: float, spread: Spread) -> float:
    """The two-sided p-value of a difference that is expected to be 0."""
    if spread.variance == 0:
        return float(difference == 0)
    return float(2 * stdtr(spread.degrees, -abs(difference) / math.sqrt(spread.variance)))


def _ten_fold(right: np.ndarray, fold: np.ndarray) -> float:
    return float((np.bincount(fold, right) / np.bincount(fold)).mean())
