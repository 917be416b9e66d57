"""The common parts of pages that compare runs of any kind: names, settings that differ, overlaid curves."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from html import escape

from adaptface_jax.checks.finding import verdict
from adaptface_jax.checks.run.history import column
from adaptface_jax.checks.run.record_checks import check_records
from adaptface_jax.checks.run.records import AnyRun
from adaptface_jax.core import trees
from adaptface_jax.core.text import plural
from adaptface_jax.evaluation.plots import paint
from adaptface_jax.report.about import text
from adaptface_jax.report.charts import Line
from adaptface_jax.report.tables import Markup, table

FILE = "index.html"
TITLE = "Runs side by side"
COLORS = 8  # of PALETTE: repeated with dashed lines


def title(count: int) -> str:
    """The header of the page. HTML."""
    return f'<p class="over">adaptface_jax</p><h1>{plural(count, "run")} side by side</h1>'


def run_cell(name: str, run: AnyRun, link: str, index: int) -> str:
    """A run's color in the curves, its name with the link to its page, and its progress."""
    kind = f"{paint(index)}{' dashed' if index >= COLORS else ''}"
    named = f'<i class="key {kind}"></i><a href="{escape(link)}">{escape(name)}</a>'
    return Markup(f"{named}<small>{escape(run.state)}</small>")


def verdict_chip(run: AnyRun) -> str:
    """The verdict of the checks, in two words."""
    worst, line = verdict(check_records(run))
    short = line.partition(":")[0]
    return Markup(f'<span class="chip {worst}" title="{escape(line)}">{escape(short)}</span>')


def differing(named: Mapping[str, AnyRun]) -> dict[str, list[str]]:
    """Name of each setting in which the runs differ -> its value in each."""
    flat = [trees.flatten(dataclasses.asdict(run.config), ".") for run in named.values()]
    paths = sorted({path for settings in flat for path in settings})
    values = {path: [text(settings.get(path)) for settings in flat] for path in paths}
    return {path: found for path, found in values.items() if len(set(found)) > 1}


def settings_table(named: Mapping[str, AnyRun]) -> str:
    """The settings in which the runs differ."""
    rows = [("", [path, *values]) for path, values in differing(named).items()]
    return table("Settings in which they differ", ["setting", *named], rows) if rows else ""


def lines(named: Mapping[str, AnyRun], tag: str, marked: bool = False) -> list[Line]:
    """A line for each run that logged the tag; dashed if its color is repeated."""
    found = [(i, name, *column(run.rows, tag)) for i, (name, run) in enumerate(named.items())]
    return [Line(name, x, y, paint(i), dashed=i >= COLORS, marked=marked) for i, name, x, y in found if len(x)]
