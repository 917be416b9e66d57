"""Verdicts on differences: raised, lowered, or none shown, controlled for all tests of one page together.

Accuracy and AUC, on every benchmark and in every domain, are many tests, some of which would report a difference by
chance. Holm's step-down method ("A simple sequentially rejective multiple test procedure", 1979) keeps the
probability that any of them does at LEVEL, however they are correlated. The whole benchmarks have OF_WHOLES of it, so
that domains cost them little; the domains have the rest, and all of it if every whole benchmark shows a difference
(Bretz et al., "A graphical approach to sequentially rejective multiple test procedures", 2009).
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from adaptface_jax.evaluation.statistics.paired_test import Comparison

LEVEL = 0.05
OF_WHOLES = 0.8

Key = TypeVar("Key")


class Outcome(enum.StrEnum):
    """The value is the text in tables."""

    RAISED = "raised"
    LOWERED = "lowered"
    MIXED = "one raised, one lowered"
    NOT_SHOWN = "no difference shown"
    FEW = "too few people"
    UNTESTED = "not tested"

    @property
    def shown(self) -> bool:
        """Whether it is a difference."""
        return self in (Outcome.RAISED, Outcome.LOWERED, Outcome.MIXED)

    @property
    def turned(self) -> Outcome:
        """The same for the first minus the second."""
        return {Outcome.RAISED: Outcome.LOWERED, Outcome.LOWERED: Outcome.RAISED}.get(self, self)


def together(outcomes: Iterable[Outcome]) -> Outcome:
    """The joint outcome of several metrics or benchmarks: what any of them shows, and MIXED if they contradict."""
    found = set(outcomes)
    if Outcome.MIXED in found or {Outcome.RAISED, Outcome.LOWERED} <= found:
        return Outcome.MIXED
    order = (Outcome.RAISED, Outcome.LOWERED, Outcome.NOT_SHOWN, Outcome.FEW)
    return next((one for one in order if one in found), Outcome.UNTESTED)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """accuracy, auc: the outcome for each. domains: name -> the same for its pairs."""

    found: Comparison
    accuracy: Outcome
    auc: Outcome
    domains: dict[str, Verdict] = dataclasses.field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        """The joint outcome of both metrics."""
        return together((self.accuracy, self.auc))


def judged(found: Mapping[Key, Comparison], level: float = LEVEL) -> dict[Key, Verdict]:
    """The verdicts of all comparisons of a page, or of a part of a page at this level of error probability.

    Comparisons over too few people are not tests.
    """
    wholes = _p_values(found.values())
    parts = _p_values(part for one in found.values() for part in one.domains.values())
    whole = _largest_shown(wholes, level * (OF_WHOLES if parts else 1))
    every = all(p <= whole for p in wholes)
    part = _largest_shown(parts, level * (1 if every else 1 - OF_WHOLES))
    return {
        key: dataclasses.replace(
            _verdict(one, whole), domains={name: _verdict(domain, part) for name, domain in one.domains.items()}
        )
        for key, one in found.items()
    }


def count_tests(found: Iterable[Verdict]) -> int:
    """The number of tests, including those of domains: two for each comparison with enough people."""
    wholes = [one.found for one in found]
    return len(_p_values([*wholes, *(part for one in wholes for part in one.domains.values())]))


def apart(before: tuple[float, float] | None, after: tuple[float, float] | None) -> Outcome:
    """Without stored scores to test: a difference only if the 95% intervals of both do not overlap."""
    if before is None or after is None:
        return Outcome.UNTESTED
    if after[0] > before[1]:
        return Outcome.RAISED
    return Outcome.LOWERED if after[1] < before[0] else Outcome.NOT_SHOWN


def _p_values(found: Iterable[Comparison]) -> list[float]:
    return [p for one in found if not one.few for p in (one.accuracy_p, one.auc_p)]


def _largest_shown(p_values: Sequence[float], level: float) -> float:
    """The largest p-value that Holm's method rejects; -1 if there is none."""
    shown = -1.0
    for place, p in enumerate(sorted(p_values)):
        if not p <= level / (len(p_values) - place):
            break
        shown = p
    return shown


def _verdict(found: Comparison, largest: float) -> Verdict:
    def outcome(difference: float, p: float) -> Outcome:
        if found.few:
            return Outcome.FEW
        if not p <= largest:
            return Outcome.NOT_SHOWN
        return Outcome.RAISED if difference > 0 else Outcome.LOWERED

    return Verdict(
        found, outcome(found.accuracy_difference, found.accuracy_p), outcome(found.auc_difference, found.auc_p)
    )
