"""Condition by condition: what the pairs of each two conditions reached, and gained over the frozen backbone."""

from __future__ import annotations

from collections.abc import Sequence

from adaptface_jax.core.text import plural
from adaptface_jax.evaluation.cells import Cell, by_conditions, condition_names
from adaptface_jax.evaluation.results import BenchmarkResults
from adaptface_jax.report.heat_map import Field, heat_map
from adaptface_jax.report.tables import NONE


def conditions_section(benchmarks: BenchmarkResults, frozen: BenchmarkResults) -> str:
    """Two matrices a benchmark whose images' conditions are known; "" where none is. HTML."""
    charts = []
    for name, entry in benchmarks.items():
        if not entry.cells:
            continue
        before = by_conditions(frozen[name].cells) if name in frozen else {}
        where = f", {name}" if len(benchmarks) > 1 else ""
        names = condition_names(entry.cells)
        for title, fields in (
            ("Accuracy", {key: _accuracy(cell, before.get(key)) for key, cell in by_conditions(entry.cells).items()}),
            ("AUC", {key: _area(cell, before.get(key)) for key, cell in by_conditions(entry.cells).items()}),
        ):
            charts.append(heat_map(f"{title} by conditions{where}", names, fields))
    if not charts:
        return ""
    lead = (
        "The pairs of an image of one condition and an image of another, each judged at its fold's threshold. Below a "
        "figure stands its gain over the frozen backbone in points, which is the colour, then its 95% interval and "
        f"what it rests on. An image of several conditions counts in each. {NONE}: pairs of one kind alone."
    )
    return f'<h3>Condition by condition</h3><p class="lead">{lead}</p><div class="charts">{"".join(charts)}</div>'


def _accuracy(cell: Cell, before: Cell | None) -> Field:
    found = cell.figures
    change = found.accuracy - before.figures.accuracy if before else None
    around = found.intervals.accuracy if found.intervals else None
    return _field(cell, f"{100 * found.accuracy:.1f}%", change, around and [f"{100 * end:.1f}" for end in around])


def _area(cell: Cell, before: Cell | None) -> Field:
    found, start = cell.figures, before.figures.auc if before else None
    change = None if found.auc is None or start is None else found.auc - start
    around = found.intervals.auc if found.intervals else None
    value = NONE if found.auc is None else f"{found.auc:.3f}"
    return _field(cell, value, change, around and [f"{end:.3f}".lstrip("0") for end in around])


def _field(cell: Cell, value: str, change: float | None, around: Sequence[str] | None) -> Field:
    """around: the ends of the interval, as they are written."""
    found = cell.figures
    pairs = plural(found.pairs, "pair")
    if found.auc is None:
        return Field(NONE, small=(pairs,))
    gain = "" if change is None else f"{100 * change:+.1f}".replace("-", "\N{MINUS SIGN}")
    if found.intervals is None:
        return Field(value, gain, change, (pairs,))
    people = plural(found.intervals.people, "person", "people")
    interval = "too few to say" if found.intervals.few else " to ".join(around or ())
    return Field(value, gain, change, (interval, pairs, people))
