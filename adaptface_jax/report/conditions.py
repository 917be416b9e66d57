# SPDX-License-Identifier: Apache-2.0
"""Results by condition: the pairs of each two conditions, and their gain over the frozen backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adaptface_jax.core.text import plural
from adaptface_jax.evaluation.cells import Cell, by_conditions, condition_names
from adaptface_jax.evaluation.results import BenchmarkResults
from adaptface_jax.evaluation.statistics.verdict import Verdict
from adaptface_jax.report.heat_map import Field, heat_map
from adaptface_jax.report.tables import NONE


def conditions_section(benchmarks: BenchmarkResults, frozen: BenchmarkResults, verdicts: Mapping[str, Verdict]) -> str:
    """Two matrices for each benchmark whose images' conditions are known; "" if there is none. HTML.

    verdicts: for each benchmark against the frozen backbone, if it was tested.
    """
    charts = []
    for name, entry in benchmarks.items():
        if not entry.cells:
            continue
        before = by_conditions(frozen[name].cells) if name in frozen else {}
        where = f", {name}" if len(benchmarks) > 1 else ""
        names = condition_names(entry.cells)
        known = verdicts[name].domains if name in verdicts else {}
        for title, field in (("Accuracy", _accuracy), ("AUC", _area)):
            fields = {
                key: field(cell, before.get(key), known.get(cell.name))
                for key, cell in by_conditions(entry.cells).items()
            }
            charts.append(heat_map(f"{title} by conditions{where}", names, fields))
    if not charts:
        return ""
    lead = (
        "The pairs of an image of one condition and one of another, each evaluated at its fold's threshold. Below each "
        "value are its gain over the frozen backbone in points, colored if the difference is significant, "
        "its 95% interval, and its pairs and people. An image of several conditions counts in each. "
        f"{NONE}: pairs of one kind only."
    )
    return f'<h3>By condition</h3><p class="lead">{lead}</p><div class="charts">{"".join(charts)}</div>'


def _accuracy(cell: Cell, before: Cell | None, verdict: Verdict | None) -> Field:
    found = cell.figures
    change = found.accuracy - before.figures.accuracy if before else None
    around = found.intervals.accuracy if found.intervals else None
    ends = around and [f"{100 * end:.1f}" for end in around]
    return _field(cell, f"{100 * found.accuracy:.1f}%", change, bool(verdict and verdict.accuracy.shown), ends)


def _area(cell: Cell, before: Cell | None, verdict: Verdict | None) -> Field:
    found, start = cell.figures, before.figures.auc if before else None
    change = None if found.auc is None or start is None else found.auc - start
    around = found.intervals.auc if found.intervals else None
    value = NONE if found.auc is None else f"{found.auc:.3f}"
    ends = around and [f"{end:.3f}".lstrip("0") for end in around]
    return _field(cell, value, change, bool(verdict and verdict.auc.shown), ends)


def _field(cell: Cell, value: str, change: float | None, shown: bool, around: Sequence[str] | None) -> Field:
    """shown: whether the change is significant. around: the ends of the interval, as text."""
    found = cell.figures
    pairs = plural(found.pairs, "pair")
    if found.auc is None:
        return Field(NONE, small=(pairs,))
    gain = "" if change is None else f"{100 * change:+.1f}".replace("-", "\N{MINUS SIGN}")
    color = change if shown else None
    if found.intervals is None:
        return Field(value, gain, color, (pairs,))
    people = plural(found.intervals.people, "person")
    interval = "too few to tell" if found.intervals.few else " to ".join(around or ())
    return Field(value, gain, color, (interval, pairs, people))
