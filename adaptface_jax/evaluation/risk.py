"""The risk of false accepts at a threshold, in plain words."""

from __future__ import annotations

import dataclasses

from adaptface_jax.evaluation.pair_scores import PairScores
from adaptface_jax.evaluation.statistics.intervals import Interval, false_accepts
from adaptface_jax.evaluation.statistics.jackknife import People
from adaptface_jax.evaluation.statistics.people import people_of

TELLING = 1e-2  # a FAR; if more strangers pass, a match proves little


@dataclasses.dataclass(frozen=True)
class Risk:
    """far: the share of pairs of strangers that pass. interval: of it, 95%, None if it is unknown.
    faces: what it was measured on."""

    far: float
    interval: Interval | None
    faces: str

    def __str__(self) -> str:
        return f"at this threshold {passing(self.far, self.interval)}, measured on {self.faces}"


def is_telling(risk: Risk | None) -> bool:
    """Whether so few strangers pass that a match is probably the same person."""
    return risk is not None and risk.far <= TELLING


def passing(far: float, interval: Interval | None) -> str:
    """A FAR in plain words: "1 stranger in 100 passes (between 1 in 60 and 1 in 150)"."""
    said = f"1 stranger in {per_one(far)} passes" if far > 0 else "no stranger passed"
    if interval is None:
        return said
    low, high = interval
    return (
        f"{said} (at most 1 in {per_one(high)})"
        if low <= 0
        else (f"{said} (between 1 in {per_one(high)} and 1 in {per_one(low)})")
    )


def per_one(share: float) -> str:
    """The N of "1 in N"."""
    return counted(1 / share)


def counted(number: float) -> str:
    """A number rounded to two significant digits: "1.5", "12", "3,400"."""
    if number < 9.95:
        return f"{number:.1f}".removesuffix(".0")
    digits = max(0, len(str(int(number))) - 2)
    return f"{round(number, -digits):,.0f}"


def measured_risk(scores: PairScores, threshold: float, faces: str) -> Risk:
    """The risk at a threshold, measured on a benchmark's pairs."""
    people = People(scores.index, scores.issame, people_of(scores.index, scores.issame, scores.person))
    far, interval = false_accepts(scores.distance, scores.issame, people, threshold)
    return Risk(far, interval, faces)
