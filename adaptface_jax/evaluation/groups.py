"""Fairness across groups of people: the accuracy and false accepts of each group at one threshold.

A group is a `domain` of a list's pairs (RFW as one benchmark), or each of RFW's four lists if they are separate
benchmarks. Spread as in Wang and Deng, "Mitigating Bias in Face Recognition Using Skewness-Aware Reinforcement
Learning", 2020: the standard deviation of the groups' accuracies, and the skewed error ratio.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.evaluation.markdown_tables import percent, table
from adaptface_jax.evaluation.pair_scores import PairScores
from adaptface_jax.evaluation.thresholds import thresholds_at_far

RFW = ("african", "asian", "caucasian", "indian")


@dataclasses.dataclass(frozen=True)
class Group:
    """accuracy: of its pairs as judged. far, tar: name of a FAR over all groups ("1e-3") -> the group's rates
    at that threshold; None if it has no pair of the kind."""

    pairs: int
    accuracy: float
    far: dict[str, float | None]
    tar: dict[str, float | None]


@dataclasses.dataclass(frozen=True)
class GroupReport:
    """groups: by name. threshold: name of a FAR over all groups -> the squared distance.

    accuracy_std: population standard deviation over groups. skewed_error_ratio: the largest error over the smallest,
    None if a group has no errors.
    """

    groups: dict[str, Group]
    threshold: dict[str, float]
    accuracy_std: float
    skewed_error_ratio: float | None

    def text(self, name: str) -> str:
        """The table, and the spread in one line; name: of the benchmark."""
        titles = ["group", "pairs", "accuracy"]
        titles += [title for far in self.threshold for title in (f"FAR at overall {far}", "TAR there")]
        rows = []
        for group, found in self.groups.items():
            rates = [rate for far in self.threshold for rate in (found.far[far], found.tar[far])]
            rows.append([group, str(found.pairs), percent(found.accuracy), *map(percent, rates)])
        accuracies = [found.accuracy for found in self.groups.values()]
        low, high = min(accuracies), max(accuracies)
        spread = f"spread {100 * (high - low):.2f} points, std {100 * self.accuracy_std:.2f}"
        lines = [f"accuracy {percent(low)} to {percent(high)}, {spread}"]
        if self.skewed_error_ratio is not None:
            lines.append(f"the largest error is {self.skewed_error_ratio:.2f} times the smallest")
        return f"{name}, by group\n\n{table(titles, rows)}\n\n{'; '.join(lines)}"


def group_reports(benchmarks: Mapping[str, Benchmark], scores: Mapping[str, PairScores]) -> dict[str, GroupReport]:
    """For each benchmark whose list has several groups, and for RFW's lists taken together ("rfw")."""
    reports = {}
    for name, benchmark in benchmarks.items():
        if benchmark.pair_domain is not None and len(benchmark.pair_names) > 1:
            groups = {group: benchmark.pair_domain == number for number, group in enumerate(benchmark.pair_names)}
            reports[name] = group_report(scores[name], groups)
    lists = {name: scores[name] for name in benchmarks if name.lower().rpartition("_")[2] in RFW}
    if len(lists) > 1:
        distance, issame, accepted = (
            np.concatenate([getattr(entry, field) for entry in lists.values()])
            for field in ("distance", "issame", "accepted")
        )
        joined = PairScores(distance, issame, accepted, index=np.empty(0, np.int32))
        of_pair = np.repeat(np.arange(len(lists)), [len(entry.issame) for entry in lists.values()])
        reports["rfw"] = group_report(joined, {name: of_pair == number for number, name in enumerate(lists)})
    return reports


def group_report(scores: PairScores, groups: Mapping[str, np.ndarray]) -> GroupReport:
    """groups: name -> which pairs belong to it, bool [N]; those without pairs are omitted."""
    members = {name: chosen for name, chosen in groups.items() if chosen.any()}
    within = np.any(list(members.values()), axis=0)
    found = thresholds_at_far(scores.distance[within], scores.issame[within])
    threshold = {far: value for far, value in found.items() if value is not None}
    figures = {}
    for name, chosen in members.items():
        rates = []
        for same in (False, True):
            distances = scores.distance[chosen & (scores.issame == same)]
            rates.append({far: _share(distances < value) for far, value in threshold.items()})
        figures[name] = Group(int(chosen.sum()), float(scores.right[chosen].mean()), *rates)
    errors = [1 - group.accuracy for group in figures.values()]
    ratio = max(errors) / min(errors) if min(errors) > 0 else None
    return GroupReport(figures, threshold, float(np.std(errors)), ratio)


def _share(accepted: np.ndarray) -> float | None:
    return float(accepted.mean()) if len(accepted) else None
