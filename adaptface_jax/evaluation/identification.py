# SPDX-License-Identifier: Apache-2.0
"""Identification (1:N): probes are searched in a gallery of known people.

Closed set: rank, CMC and mean average precision of the probes whose person is in the gallery. Open set: TPIR at FPIR
(Grother, Quinn and Phillips, NISTIR 7709, 2010): a probe of a person who is not in the gallery should match nobody.
Distractors are additional people in the gallery who are in no probe (Kemelmacher-Shlizerman et al., "The MegaFace
Benchmark", 2016). A tie counts against the probe everywhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural
from adaptface_jax.evaluation.distances import unit_embeddings
from adaptface_jax.evaluation.roc import MIN_FALSE_ACCEPTS, far_name
from adaptface_jax.evaluation.search import Faces, rank_gallery
from adaptface_jax.evaluation.statistics import influence
from adaptface_jax.evaluation.statistics.intervals import Interval
from adaptface_jax.evaluation.statistics.jackknife import FEW, resting_on
from adaptface_jax.evaluation.statistics.searches import Searches

FPIRS = (1e-1, 1e-2, 1e-3)
DEPTHS = (1, 5, 10, 20)
FEWEST_DISTRACTORS = 10  # where the curve over their number starts; it continues by powers of ten


@dataclasses.dataclass(frozen=True)
class SearchIntervals:
    """(low, high) of each metric of an `Identification` at 95%, None where the metric is; people: how many
    are in the known probes. few: whether these are too few for a conclusion."""

    rank1: Interval
    rank5: Interval
    rank10: Interval
    rank20: Interval
    tpir_at_fpir: dict[str, Interval | None]
    mean_average_precision: Interval | None
    people: int
    few: bool


@dataclasses.dataclass(frozen=True)
class AtThreshold:
    """threshold: a squared distance of unit embeddings, 0..4. found: share of known probes whose person ranks first and
    is below it. false_hits: share of unknown probes with anybody below it; None if there are no such probes."""

    threshold: float
    found: float
    false_hits: float | None


@dataclasses.dataclass(frozen=True)
class Identification:
    """rank1 .. rank20: share of known probes whose person is among that many first rows. cmc: the same for 1, 2 .. 20
    (or as many as there are rows). tpir_at_fpir: name of the target FPIR ("1e-2") -> share of known probes whose person
    ranks first and passes the threshold that this share of unknown probes passes; None if under 10 of them would.
    people, gallery_images, distractors: in the gallery. known_probes, unknown_probes: images, or templates.
    mean_average_precision: if people have several rows in the gallery, else None; precision over recall is
      interpolated linearly, as in TinyFace's and Market-1501's evaluations.
    rank1_by_distractors: number of distractors (nested random samples) -> rank1.
    """

    rank1: float
    rank5: float
    rank10: float
    rank20: float
    cmc: tuple[float, ...]
    tpir_at_fpir: dict[str, float | None]
    people: int
    gallery_images: int
    known_probes: int
    unknown_probes: int
    mean_average_precision: float | None = None
    distractors: int = 0
    rank1_by_distractors: dict[str, float] = dataclasses.field(default_factory=dict)
    at_threshold: AtThreshold | None = None
    intervals: SearchIntervals | None = None

    def lines(self, name: str) -> list[str]:
        """Lines to print; name: the benchmark's."""
        among = f" among {plural(self.distractors, 'distractor')}" if self.distractors else ""
        said = [f"rank-{depth} {_percent(getattr(self, f'rank{depth}'))}" for depth in DEPTHS if depth <= len(self.cmc)]
        if self.mean_average_precision is not None:
            said.append(f"mAP {_percent(self.mean_average_precision)}")
        line = (
            f"{name}: {plural(self.known_probes, 'probe')} of {plural(self.people, 'person')}{among}, {', '.join(said)}"
        )
        if self.unknown_probes:
            rates = ", ".join(f"{fpir} {_percent(rate)}" for fpir, rate in self.tpir_at_fpir.items())
            line += f"; {plural(self.unknown_probes, 'probe')} of unknown people, TPIR@FPIR {rates}"
        result = [line]
        if self.intervals:
            low, high = self.intervals.rank1
            rest = resting_on(self.intervals.people, self.intervals.few)
            result.append(f"{name}: rank-1 within {100 * low:.2f} to {_percent(high)} (95%, {rest})")
        if self.rank1_by_distractors:
            rates = ", ".join(f"{count} {_percent(rate)}" for count, rate in self.rank1_by_distractors.items())
            result.append(f"{name}: rank-1 by the number of distractors: {rates}")
        if self.at_threshold:
            at = self.at_threshold
            stranger = (
                "" if at.false_hits is None else f", {_percent(at.false_hits)} of those of strangers match somebody"
            )
            found = f"{_percent(at.found)} of the known probes find their person"
            result.append(f"{name}: at the threshold {at.threshold:.4f} {found}{stranger}")
        return result


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The results of P probes in one gallery.

    person, other: int [P], the person in the probe, and the most similar other person. known: bool [P].
    rank: int [P, S], the best rank of a row of the same person among the people and the first of the `distractors`, S
    numbers from 0 to all of them. own, top: float [P], the highest similarity with a row of the same person, and of
    another. precision: float [P], average precision. rank, own and precision are undefined if the person is unknown.
    people: in the gallery. rows: the gallery's, without distractors. several: whether anybody has more than one.
    """

    person: np.ndarray
    other: np.ndarray
    known: np.ndarray
    rank: np.ndarray
    own: np.ndarray
    top: np.ndarray
    precision: np.ndarray
    people: int
    rows: int
    several: bool
    distractors: tuple[int, ...]


def identify(
    gallery: Faces,
    probes: Faces,
    distractors: Faces | None = None,
    *,
    images: int | None = None,
    threshold: float | None = None,
) -> Identification:
    """Searches every probe. distractors: people in neither of the others. images, threshold: as in `summary`.

    Raises InputError if no probe's person is in the gallery.
    """
    return summary([search(gallery, probes, distractors)], images=images, threshold=threshold)


def search(gallery: Faces, probes: Faces, distractors: Faces | None = None) -> Outcome:
    """The result of every probe; raises InputError if no probe's person is in the gallery."""
    known = np.isin(probes.person, gallery.person)
    if not known.any():
        raise InputError("no probe is of a person in the gallery; expected people with the same names in both")
    rows, more = len(gallery.person), 0 if distractors is None else len(distractors.person)
    if distractors is not None:
        order = np.random.default_rng(0).permutation(more)
        gallery = Faces(
            np.concatenate([gallery.units, distractors.units[order]]),
            np.concatenate([gallery.person, distractors.person[order]]),
        )
    counts = numbers_of(more)
    found = rank_gallery(gallery, probes, tuple(rows + count for count in counts))
    above = found.above.cumsum(axis=2)
    nearest = found.nearest.argmax(axis=1)[:, None]
    people, sizes = np.unique(gallery.person[:rows], return_counts=True)
    return Outcome(
        person=probes.person,
        other=gallery.person[np.take_along_axis(found.row, nearest, axis=1)[:, 0]],
        known=known,
        rank=1 + above[:, 0],
        own=found.own[:, 0],
        top=found.nearest.max(axis=1),
        precision=_average_precision(above[:, :, -1], np.isfinite(found.own)),
        people=len(people),
        rows=rows,
        several=bool((sizes > 1).any()),
        distractors=counts,
    )


def summary(
    outcomes: Sequence[Outcome], *, images: int | None = None, threshold: float | None = None
) -> Identification:
    """The metrics of one gallery, or of several as IJB's are published: ranks over all known probes of either, TPIR
    as the mean over galleries.

    images: of the galleries, if a row is not one. threshold: a squared distance to evaluate at, None for none.
    """
    known = np.concatenate([outcome.known for outcome in outcomes])
    rank = np.concatenate([outcome.rank for outcome in outcomes])
    own, top = (np.concatenate([getattr(outcome, name) for outcome in outcomes]) for name in ("own", "top"))
    person, other = (np.concatenate([getattr(outcome, name) for outcome in outcomes]) for name in ("person", "other"))
    last = np.where(known, rank[:, -1], np.iinfo(np.int64).max)
    searches = Searches(person, other, np.where(known, own, top), known)
    shares = {depth: float((last[known] <= depth).mean()) for depth in DEPTHS}
    within = {depth: searches.share(last <= depth) for depth in DEPTHS}
    precision = np.concatenate([outcome.precision for outcome in outcomes])
    several = any(outcome.several for outcome in outcomes)
    tpirs = {far_name(fpir): _tpir(outcomes, searches, fpir) for fpir in FPIRS}
    counts, shown = outcomes[0].distractors, len(np.unique(person[known]))
    rows = sum(outcome.rows for outcome in outcomes)
    depths = range(1, min(rows + counts[-1], DEPTHS[-1]) + 1)
    return Identification(
        rank1=shares[1],
        rank5=shares[5],
        rank10=shares[10],
        rank20=shares[20],
        cmc=tuple(float((last[known] <= depth).mean()) for depth in depths),
        tpir_at_fpir={name: rate for name, (rate, _) in tpirs.items()},
        people=sum(outcome.people for outcome in outcomes),
        gallery_images=rows if images is None else images,
        known_probes=int(known.sum()),
        unknown_probes=int((~known).sum()),
        mean_average_precision=float(precision[known].mean()) if several else None,
        distractors=counts[-1],
        rank1_by_distractors={
            f"{count}": float((rank[known, place] == 1).mean()) for place, count in enumerate(counts) if counts[-1]
        },
        at_threshold=None if threshold is None else _at(threshold, known, last, own, top),
        intervals=SearchIntervals(
            within[1],
            within[5],
            within[10],
            within[20],
            {name: interval for name, (_, interval) in tpirs.items()},
            searches.mean(precision) if several else None,
            shown,
            shown <= FEW or searches.people.few,
        ),
    )


def person_templates(gallery: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Raw embeddings [G, E] -> mean of each person's unit embeddings, at unit length, float32 [I, E].

    The search then costs one row per person, and is robust to a bad image. person: int [G], 0..I-1.
    """
    order = np.argsort(person, kind="stable")
    starts = np.searchsorted(person[order], np.arange(person.max() + 1))
    return unit_embeddings(np.add.reduceat(unit_embeddings(gallery)[order], starts, axis=0)).astype(np.float32)


def crowd(rows: np.ndarray, person: np.ndarray) -> Faces:
    """Distractors: the template of each of them, with negative numbers. Args: as `person_templates`."""
    units = person_templates(rows, person)
    return Faces(units, -1 - np.arange(len(units)))


def numbers_of(distractors: int) -> tuple[int, ...]:
    """The numbers of distractors of a curve: 0, 10, 100 .. and all of them."""
    counts, count = [0], FEWEST_DISTRACTORS
    while count < distractors:
        counts.append(count)
        count *= 10
    return (*counts, distractors) if distractors else (0,)


def _average_precision(above: np.ndarray, there: np.ndarray) -> np.ndarray:
    """The area under precision over recall of each probe, float64 [P]: 0 if the person has no row.

    above: int [P, K], rows of others ranked above each of the person's. there: bool [P, K], whether that row exists.
    """
    hit = np.arange(1, above.shape[1] + 1)
    place = above + hit
    before = np.where(place > 1, (hit - 1) / np.maximum(place - 1, 1), 1.0)
    areas = np.where(there, (before + hit / place) / 2, 0.0)
    return areas.sum(axis=1) / np.maximum(there.sum(axis=1), 1)


def _tpir(outcomes: Sequence[Outcome], searches: Searches, fpir: float) -> tuple[float | None, Interval | None]:
    rates, terms = [], []
    for outcome in outcomes:
        strangers = np.sort(outcome.top[~outcome.known])[::-1]
        if fpir * len(strangers) < MIN_FALSE_ACCEPTS - 1e-9:
            return None, None
        first = outcome.rank[:, -1] == 1
        found = np.where(outcome.known, np.where(first, outcome.own, -np.inf), outcome.top).astype(np.float64)
        threshold = strangers[int(fpir * len(strangers) + 1e-9)]
        rates.append(float((found[outcome.known] > threshold).mean()))
        terms.append(influence.of_tar(-found, outcome.known, fpir))
    rate = float(np.mean(rates))
    return rate, searches.found(rate, np.concatenate(terms) / len(terms))


def _at(threshold: float, known: np.ndarray, rank: np.ndarray, own: np.ndarray, top: np.ndarray) -> AtThreshold:
    found = (rank == 1) & (2 - 2 * own < threshold)
    hits = 2 - 2 * top[~known] < threshold
    return AtThreshold(threshold, float(found[known].mean()), float(hits.mean()) if len(hits) else None)


def _percent(rate: float | None) -> str:
    return "n/a" if rate is None else f"{100 * rate:.2f}%"
