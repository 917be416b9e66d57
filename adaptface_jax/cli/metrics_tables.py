# SPDX-License-Identifier: Apache-2.0
"""The metrics of benchmarks on a terminal: in 80 columns, or all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from adaptface_jax.cli.table import text_table
from adaptface_jax.core.text import shortened
from adaptface_jax.evaluation.cells import by_conditions
from adaptface_jax.evaluation.markdown import benchmark_rows, conditions_table
from adaptface_jax.evaluation.markdown_tables import area, ends, percent
from adaptface_jax.evaluation.results import BenchmarkResult, BenchmarkResults
from adaptface_jax.evaluation.verification import DomainVerification

COLUMNS = 80
NAME = 11  # characters of a benchmark's or a condition's name

Row = tuple[str, DomainVerification | BenchmarkResult, DomainVerification | BenchmarkResult | None]


def narrow(results: BenchmarkResults, frozen: BenchmarkResults) -> str:
    """One row per benchmark, below it one per pair of conditions, next to the frozen backbone's metrics where known;
    then how many people the intervals rest on."""
    rows = [row for name, entry in results.items() for row in _rows(name, entry, frozen.get(name))]
    titles = ["benchmark", "pairs", "accuracy", "95% interval", "AUC", *(["frozen", "its AUC"] if frozen else [])]
    table = text_table(titles, [_cells(*row, bool(frozen)) for row in rows])
    lines = [f"{name}: 95% over {entry.intervals.resting_on}" for name, entry in results.items() if entry.intervals]
    return "\n".join([table, *lines, "--wide shows EER, TAR at FAR, thresholds and the rest"])


def wide(results: BenchmarkResults, frozen: BenchmarkResults) -> str:
    """Every metric, and matrices of conditions."""
    titles, rows = benchmark_rows(results)
    if frozen:
        titles = [*titles, "frozen", "its AUC"]
        rows = [[*row, *_beside(frozen.get(row[0]))] for row in rows]
    parts = [text_table(titles, rows)]
    for name, entry in results.items():
        if entry.cells:
            before = frozen[name].cells if name in frozen else ()
            parts.append(f"{name} by condition\n\n{aligned(conditions_table(entry.cells, before))}")
    return "\n\n".join(parts)


def aligned(markdown: str) -> str:
    """A Markdown table with its columns aligned."""
    titles, _, *rows = ([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in markdown.split("\n"))
    return text_table(titles, rows)


def _rows(name: str, entry: BenchmarkResult, before: BenchmarkResult | None) -> Iterator[Row]:
    yield name, entry, before
    known = by_conditions(before.cells) if before else {}
    for cell in entry.cells:
        start = known.get((cell.first, cell.second))
        yield f"  {cell.name}", cell.figures, start.figures if start else None


def _cells(
    name: str,
    entry: DomainVerification | BenchmarkResult,
    before: DomainVerification | BenchmarkResult | None,
    with_frozen: bool,
) -> list[str]:
    around = entry.intervals
    row = [shortened(name, NAME), str(entry.pairs), percent(entry.accuracy)]
    row += [ends(around.accuracy if around else None), area(entry.auc)]
    return row + (_beside(before) if with_frozen else [])


def _beside(before: DomainVerification | BenchmarkResult | None) -> list[str]:
    return ["", ""] if before is None else [percent(before.accuracy), area(before.auc)]
