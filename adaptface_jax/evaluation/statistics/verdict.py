"""What may be said of differences: raised, lowered, or that none is shown, held for all that one page says together.

Accuracy and AUC, on every benchmark and in every domain, are many tests, of which some would call a mere chance a
difference. Holm's step-down method ("A simple sequentially rejective multiple test procedure", 1979) keeps the chance
that any of them does at LEVEL, however they hang together. The whole benchmarks have OF_WHOLES of it, so that domains
cost them little; the domains have the rest, and all of it where every whole shows a difference (Bretz et al., "A
graphical approach to sequentially rejective multiple test procedures", 2009).
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
    """The value is what a table says."""

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
        """The same of the first minus the second."""
        return {Outcome.RAISED: Outcome.LOWERED, Outcome.LOWERED: Outcome.RAISED}.get(self, self)


def together(outcomes: Iterable[Outcome]) -> Outcome:
    """Of several figures, or benchmarks, at once: what any of them shows, and MIXED where they show opposites."""
    found = set(outcomes)
    if Outcome.MIXED in found or {Outcome.RAISED, Outcome.LOWERED} <= found:
        return Outcome.MIXED
    order = (Outcome.RAISED, Outcome.LOWERED, Outcome.NOT_SHOWN, Outcome.FEW)
    return next((one for one in order if one in found), Outcome.UNTESTED)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """accuracy, auc: what is shown of either. domains: name -> the same of its pairs."""

    found: Comparison
    accuracy: Outcome
    auc: Outcome
    domains: dict[str, Verdict] = dataclasses.field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        """Of both figures together."""
        return together((self.accuracy, self.auc))


def judged(found: Mapping[Key, Comparison], level: float = LEVEL) -> dict[Key, Verdict]:
    """The verdicts of all comparisons of a page, or of the part of a page that has this level of its chance of error.

    Comparisons over too few people are no tests.
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
    """How many tests these are, with those of their domains: two for each that rests on people enough."""
    wholes = [one.found for one in found]
    return len(_p_values([*wholes, *(part for one in wholes for part in one.domains.values())]))


def apart(before: tuple[float, float] | None, after: tuple[float, float] | None) -> Outcome:
    """Where no scores are kept to test: a difference only where the 95% intervals of both lie apart."""
    if before is None or after is None:
        return Outcome.UNTESTED
    if after[0] > before[1]:
        return Outcome.RAISED
    return Outcome.LOWERED if after[1] < before[0] else Outcome.NOT_SHOWN


def _p_values(found: Iterable[Comparison]) -> list[float]:
    return [p for one in found if not one.few for p in (one.accuracy_p, one.auc_p)]


def _largest_shown(p_values: Sequence[float], level: float) -> float:
    """The largest p-value that Holm's method calls a difference; -1 where none is one."""
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
