# SPDX-License-Identifier: Apache-2.0
"""The elements of a `results.md`: tables, lists of facts and number formats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from adaptface_jax.evaluation.statistics.intervals import Interval
from adaptface_jax.models.recognizer import ParameterCount


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """The first `texts` columns are text, the others numbers."""
    lines = [titles, [*["---"] * texts, *["---:"] * (len(titles) - texts)], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def facts(named: Mapping[str, Any]) -> str:
    """One line each; empty ones are omitted."""
    return "\n".join(f"- {name}: {value}" for name, value in named.items() if value != "")


def parameters_table(rows: Sequence[ParameterCount]) -> str:
    """Total and trainable parameters by part; of the class centers, used in training only, there is no total."""
    shown = [[row.part, "" if row.total is None else f"{row.total:,}", f"{row.trainable:,}"] for row in rows]
    return table(["part", "total", "trainable"], shown)


def percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.2f}%"


def ends(interval: Interval | None) -> str:
    """An interval of shares, in percent."""
    return "n/a" if interval is None else f"{100 * interval[0]:.2f} to {100 * interval[1]:.2f}"


def area(value: float | None) -> str:
    """An AUC."""
    return "n/a" if value is None else f"{value:.4f}"
