"""Condition by condition: what the pairs of each two conditions reached and gained, and run against run."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from adaptface_jax.evaluation.cells import Cell, by_conditions, condition_names
from adaptface_jax.evaluation.results import BenchmarkResults
from adaptface_jax.report.heat_map import Field, heat_map
from adaptface_jax.report.tables import NONE, Markup, points, signed, table


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
        "figure stands its gain over the frozen backbone in points, which is the colour. An image of several "
        f"conditions counts in each. {NONE}: pairs of one kind alone."
    )
    return f'<h3>Condition by condition</h3><p class="lead">{lead}</p><div class="charts">{"".join(charts)}</div>'


def _accuracy(cell: Cell, before: Cell | None) -> Field:
    if cell.figures.auc is None:
        return _nothing(cell)
    change = cell.figures.accuracy - before.figures.accuracy if before else None
    around = cell.figures.intervals
    between = "{:.1f} to {:.1f}".format(*(100 * end for end in around.accuracy)) if around else ""
    return _field(cell, f"{100 * cell.figures.accuracy:.1f}%", change, between)


def _area(cell: Cell, before: Cell | None) -> Field:
    if cell.figures.auc is None:
        return _nothing(cell)
    change = None if before is None or before.figures.auc is None else cell.figures.auc - before.figures.auc
    around = cell.figures.intervals
    between = "{:.3f} to {:.3f}".format(*around.auc) if around and around.auc else ""
    return _field(cell, f"{cell.figures.auc:.3f}", change, between)


def _field(cell: Cell, value: str, change: float | None, between: str) -> Field:
    gain = "" if change is None else f"{100 * change:+.1f}".replace("-", "\N{MINUS SIGN}")
    around = cell.figures.intervals
    rests = f", {around.resting_on}" if around else ""
    return Field(value, gain, change, (*filter(None, [between]), f"{cell.figures.pairs:,} pairs{rests}"))


def _nothing(cell: Cell) -> Field:
    return Field(NONE, small=(f"{cell.figures.pairs:,} pairs",))


def run_against_run(named: Mapping[str, BenchmarkResults], benchmarks: Sequence[str]) -> str:
    """A table a benchmark: what the second of each two runs gained over the first, by conditions. HTML, or ""."""
    parts = []
    for benchmark in benchmarks:
        known = {name: _unordered(found[benchmark].cells) for name, found in named.items() if benchmark in found}
        keys = {key: cell for cells in known.values() for key, cell in cells.items()}
        rows = [
            ("", [f"{one} → {two}", *[_change(first.get(key), second.get(key)) for key in keys]])
            for (one, first), (two, second) in itertools.combinations(known.items(), 2)
            if first and second
        ]
        if rows:
            titles = ["runs", *[f"{cell.first} with {cell.second}" for cell in keys.values()]]
            parts.append(table(f"{benchmark} by conditions: second minus first", titles, rows))
    if not parts:
        return ""
    return "".join(parts) + '<p class="note">Accuracy in points, and below it the AUC times 100.</p>'


def _unordered(cells: Sequence[Cell]) -> dict[frozenset[str], Cell]:
    """Runs may name their domains in different orders."""
    return {frozenset((cell.first, cell.second)): cell for cell in cells}


def _change(first: Cell | None, second: Cell | None) -> str:
    if first is None or second is None or first.figures.auc is None or second.figures.auc is None:
        return NONE
    accuracy = points(second.figures.accuracy - first.figures.accuracy)
    return Markup(f"{accuracy}<small>AUC {signed(second.figures.auc - first.figures.auc)}</small>")
