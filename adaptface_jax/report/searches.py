"""Searches that were stored with a run: identification rates and gallery sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from adaptface_jax.evaluation.identification import DEPTHS, Identification
from adaptface_jax.evaluation.recorded_searches import RecordedSearch
from adaptface_jax.evaluation.statistics.jackknife import resting_on
from adaptface_jax.report.tables import NONE, between, counted, percent, table

_FPIRS = ("1e-1", "1e-2")


def searches_section(kept: Mapping[str, RecordedSearch]) -> str:
    """Two tables, HTML; empty if nothing is stored."""
    if not kept:
        return ""
    titles = ["search", "checkpoint", "known probes", "unknown probes", "people", "distractors"]
    titles += [*(f"rank-{depth}" for depth in DEPTHS), "mAP", *(f"TPIR@FPIR {fpir}" for fpir in _FPIRS)]
    note = (
        '<p class="note">Rank-n: the person is among the first n of the gallery. TPIR@FPIR: first, and past the '
        "threshold that this share of strangers passes; n/a if under 10 would. Small numbers: 95% intervals over "
        "people.</p>"
    )
    return table("Searches", titles, [("", row(name, entry)) for name, entry in kept.items()]) + note + crowds(kept)


def row(name: str, entry: RecordedSearch) -> Sequence[str]:
    """The cells of one search."""
    found, within = entry.figures, entry.figures.intervals
    names = [*(f"rank{depth}" for depth in DEPTHS), "mean_average_precision"]
    shares = [
        between(value, getattr(within, name, None), percent(value))
        for name in names
        for value in [getattr(found, name)]
    ]
    tpirs = within.tpir_at_fpir if within else {}
    rates = ((found.tpir_at_fpir.get(fpir), tpirs.get(fpir)) for fpir in _FPIRS)
    shares += [between(rate, interval, percent(rate)) for rate, interval in rates]
    people = resting_on(within.people, within.few) if within else ""
    probes = counted(found.known_probes, people)
    counts = [f"{count:,}" for count in (found.unknown_probes, found.people, found.distractors)]
    return [name, f"step {entry.step:,}", probes, *counts, *shares]


def crowds(kept: Mapping[str, RecordedSearch]) -> str:
    """Rank-1 over the number of distractors, if there are any."""
    curves = {name: entry.figures for name, entry in kept.items() if entry.figures.rank1_by_distractors}
    if not curves:
        return ""
    counts = sorted({int(count) for found in curves.values() for count in found.rank1_by_distractors})
    titles = ["search", *(f"{count:,}" for count in counts)]
    return table("Rank-1 by the number of distractors", titles, list(_rows(curves, counts)))


def _rows(curves: Mapping[str, Identification], counts: Sequence[int]) -> Iterator[tuple[str, Sequence[str]]]:
    for name, found in curves.items():
        rates = (found.rank1_by_distractors.get(f"{count}") for count in counts)
        yield "", [name, *(NONE if rate is None else percent(rate) for rate in rates)]
