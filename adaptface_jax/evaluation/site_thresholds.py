"""Thresholds for the faces of one site, from unlabeled photographs taken there.

Nearly all pairs of such photographs are of two people, so the distances of all pairs are those of strangers, apart
from doubles: pairs of photographs of one person. Below a distance where strangers cannot explain nine tenths of the
pairs, all are treated as doubles and excluded. The number of strangers there is bounded by the rest of the
distribution: the logarithm of a distribution function with a log-concave density is concave (Bagnoli and Bergstrom,
"Log-concave probability and its applications", 2005), so it is below its extended chord.

Remaining doubles are counted as strangers: they make a threshold stricter than requested, never looser. All may remain
if they are a tenth of the pairs or more. Their number is bounded by how close the genuine pairs of a benchmark are: no
more of a share p of doubles can be below a distance than there are pairs (Blanchard, Lee and Scott, "Semi-supervised
novelty detection", 2010).

Pairs share photographs, so intervals leave out photographs, and all photographs at once that visible doubles join.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.evaluation.roc import MIN_FALSE_ACCEPTS
from adaptface_jax.evaluation.statistics.intervals import Interval, false_accepts
from adaptface_jax.evaluation.statistics.jackknife import People
from adaptface_jax.evaluation.statistics.people import people_of
from adaptface_jax.evaluation.thresholds import thresholds_at_far

FEWEST = 20  # photographs
# Shares of the pairs between which the strangers' distribution is extrapolated: the second if doubles fill the first.
_CHORDS = (0.05, 0.2), (0.3, 0.5)
_PURE = 10  # times as many pairs as strangers explain: then they are treated as doubles
_MOST_DOUBLES = 0.1  # of the pairs; with more of them the first chord no longer represents strangers
_WIDEST = 2.0  # times the FAR that the upper end of its interval may be


@dataclasses.dataclass(frozen=True)
class SiteThreshold:
    """value: the squared distance below which a share FAR of the pairs of strangers is, 0..4. interval: of it.
    far_interval: of the true FAR at `value`. All at 95%."""

    value: float
    interval: Interval
    far_interval: Interval


@dataclasses.dataclass(frozen=True)
class SiteThresholds:
    """at_far: name of a FAR ("1e-2") -> its threshold. needed: name -> about how many photographs a FAR without one
    needs. photographs, pairs: of the set. doubles: the share of pairs that were excluded as doubles. doubles_at_most:
    of all doubles, detected or not; None if no genuine pairs were known. people: photographs or groups of them, of
    visible doubles, that the intervals rest on."""

    at_far: dict[str, SiteThreshold]
    needed: dict[str, int]
    photographs: int
    pairs: int
    people: int
    doubles: float
    doubles_at_most: float | None = None


def site_thresholds(units: np.ndarray, genuine: np.ndarray | None = None) -> SiteThresholds:
    """The thresholds of a set of photographs.

    Args:
      units: float [N, E], embeddings of unit length. genuine: float [G], squared distances of pairs of one person, of
        any benchmark; None if none are known.

    Raises InputError for fewer than FEWEST photographs, and if doubles are more than a tenth of the pairs.
    """
    photographs = len(units)
    check_enough(photographs)
    first, second = np.triu_indices(photographs, 1)
    distances = np.clip(2 - 2 * (units @ units.T)[first, second].astype(np.float64), 0, 4)
    cut, strangers_below = doubles_below(distances)
    double = distances <= cut
    share = float(double.mean())
    if share > _MOST_DOUBLES:
        raise InputError(
            f"{100 * share:.0f}% of the pairs of these photographs look like doubles; expected photographs of many "
            "people, few of each"
        )
    index = np.stack([first, second], axis=1).ravel()
    people = People(index, double, people_of(index, double))
    most = None if genuine is None else max(share, most_doubles(distances, genuine))
    hidden = 0.0 if most is None else most - share
    at_far: dict[str, SiteThreshold] = {}
    needed: dict[str, int] = {}
    strangers = np.sort(distances[~double])
    for name, value in thresholds_at_far(distances, double).items():
        far, least = float(name), fewest_photographs(float(name))
        if value is None:
            needed[name] = least
            continue
        low, high = false_accepts(distances, double, people, value)[1]
        if people.few or high > _WIDEST * far:
            wider = math.log(high / far) / math.log(_WIDEST)
            needed[name] = max(least, math.ceil(photographs * max(wider**2, 1.1)))
            continue
        ends = max(0.0, low - hidden), high + strangers_below
        around = far**2 / ends[1], min(1.0, far**2 / ends[0]) if ends[0] else 1.0
        nearest, farthest = (float(strangers[int(end * (len(strangers) - 1))]) for end in around)
        at_far[name] = SiteThreshold(value, (nearest, farthest), ends)
    return SiteThresholds(at_far, needed, photographs, len(distances), people.count, share, most)


def check_enough(photographs: int) -> None:
    """Raise InputError for fewer than FEWEST photographs."""
    if photographs < FEWEST:
        raise InputError(f"{photographs} photographs are too few; expected {FEWEST} or more")


def doubles_below(distances: np.ndarray) -> tuple[float, float]:
    """The distance up to which pairs are treated as doubles (-1: none), and an upper bound on the share of all pairs
    that are strangers up to there."""
    ordered = np.sort(distances)
    share = np.arange(1, len(ordered) + 1) / len(ordered)
    strangers = np.ones(len(ordered))
    for chord in _CHORDS:
        low, high = np.quantile(ordered, chord)
        prolonged = chord[0] * np.exp(math.log(chord[1] / chord[0]) / max(high - low, 1e-12) * (ordered - low))
        strangers = np.where(ordered < low, np.minimum(strangers, prolonged), strangers)
    pure = np.flatnonzero(share >= _PURE * strangers)
    return (float(ordered[pure[-1]]), float(strangers[pure[-1]])) if len(pure) else (-1.0, 0.0)


def most_doubles(distances: np.ndarray, genuine: np.ndarray) -> float:
    """The largest share of the pairs that can be doubles, if doubles are as close as `genuine` pairs."""
    places = np.quantile(genuine, np.linspace(0.05, 0.95, 19))
    of_genuine = np.searchsorted(np.sort(genuine), places, side="right") / len(genuine)
    below = np.searchsorted(np.sort(distances), places, side="right")
    return float(min(1.0, ((below + 2 * np.sqrt(below) + 3) / len(distances) / of_genuine).min()))


def fewest_photographs(far: float) -> int:
    """The number with which MIN_FALSE_ACCEPTS pairs of strangers are expected to be accepted at a FAR."""
    return math.ceil((1 + math.sqrt(1 + 8 * MIN_FALSE_ACCEPTS / far)) / 2)
