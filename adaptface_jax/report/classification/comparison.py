"""Several classification runs side by side, the best first: their table, differences, and overlaid curves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import NamedTuple

import numpy as np

from adaptface_jax.checks.run.classification import noise
from adaptface_jax.checks.run.history import column
from adaptface_jax.checks.run.records import ClassificationRun
from adaptface_jax.core.text import duration, signed
from adaptface_jax.evaluation.classification.rankings import by_f1, extremes, kind_of_label
from adaptface_jax.evaluation.plots import paint
from adaptface_jax.evaluation.statistics.verdict import Outcome
from adaptface_jax.report.about import architecture, training_seconds
from adaptface_jax.report.benchmarks import mark
from adaptface_jax.report.charts import curves, dots
from adaptface_jax.report.next_steps import of_several
from adaptface_jax.report.side_by_side import TITLE, differing, lines, run_cell, settings_table, title, verdict_chip
from adaptface_jax.report.style import document
from adaptface_jax.report.tables import NONE, Markup, percent, table

FEW = 8  # with more runs a row of dots is unreadable
COLUMNS = 3  # with more settings the table is too wide


class Standing(NamedTuple):
    """A run on validation: of its best checkpoint, or until it ends of its best evaluation so far."""

    macro_f1: float
    accuracy: float
    loss: float
    step: int | None


def classification_comparison(named: Mapping[str, ClassificationRun], links: Mapping[str, str]) -> str:
    """The document for runs by their names. links: the page of each, relative."""
    stood = {name: standing(run) for name, run in named.items()}
    ranked = {name: named[name] for name in sorted(named, key=lambda name: -_score(stood[name]))}
    body = [
        title(len(named)),
        _best(ranked, stood),
        _same_data(ranked),
        "<h2>Runs</h2>",
        runs_table(ranked, stood, links),
        "" if studied(ranked) else settings_table(ranked),
        "<h2>Curves</h2>",
        overlaid(ranked),
    ]
    body.append(of_several(len(named) > 1))
    return document(TITLE, body)


def standing(run: ClassificationRun) -> Standing | None:
    """None if nothing has been evaluated yet."""
    if run.results:
        found = run.results.validation
        return Standing(found.macro_f1, found.accuracy, found.loss, found.checkpoint)
    steps, scores = column(run.rows, "eval/validation/macro_f1")
    if not np.isfinite(scores).any():
        return None
    best = int(np.nanargmax(scores))
    others = {name: column(run.rows, f"eval/validation/{name}") for name in ("accuracy", "loss")}
    accuracy, loss = (float(values[at == steps[best]][-1]) for at, values in others.values())
    return Standing(float(scores[best]), accuracy, loss, int(steps[best]))


def _score(found: Standing | None) -> float:
    return found.macro_f1 if found else -math.inf


def _best(ranked: Mapping[str, ClassificationRun], stood: Mapping[str, Standing | None]) -> str:
    """Which run is better, by how much, and how large a difference must be to be significant."""
    known = {name: found for name in ranked if (found := stood[name])}
    if not known:
        return '<p class="answer">No run has been evaluated yet.</p>'
    first, *others = known
    results = ranked[first].results
    room = noise(results.validation.accuracy, results.validation.images) if results else math.inf
    highest = f"the highest macro F1 on validation: {percent(known[first].macro_f1)}"
    # The 95% intervals of two accuracies do not overlap, as happens by chance in under 1% of the pairs of equal runs.
    ahead = bool(others) and all(known[first].accuracy - known[other].accuracy > 2 * room for other in others)
    if ahead:
        said = f"<b>{escape(first)}</b> is better, with {highest}."
    elif others:
        said = f"No run is shown to be better. {escape(first)} has {highest}."
    else:
        said = f"{escape(first)} has {highest}."
    said = f'<p class="answer">{mark(Outcome.RAISED if ahead else Outcome.NOT_SHOWN)}{said}</p>'
    if others:
        behind = [
            f"{signed(getattr(known[others[0]], figure) - getattr(known[first], figure))} points in {title}"
            for figure, title in (("macro_f1", "macro F1"), ("accuracy", "accuracy"))
        ]
        said += f"<p>Relative to it the next, {escape(others[0])}, has {' and '.join(behind)}.</p>"
    if results:
        said += (
            f'<p class="note">A run is called better if its accuracy is {200 * room:.1f} points above that of every '
            f"other, four standard errors on {results.validation.images:,} images; another seed of the same settings "
            "differs too. The best of many runs on the validation images is biased upward; on the test images "
            "it is not.</p>"
        )
    return said


def _same_data(ranked: Mapping[str, ClassificationRun]) -> str:
    first, *others = ranked.values()
    if all(run.record["data"] == first.record["data"] for run in others):
        return ""
    return '<p class="note">The runs were not trained on the same images: their metrics are of different tasks.</p>'


def studied(ranked: Mapping[str, ClassificationRun]) -> dict[str, list[str]]:
    """The settings in which the runs differ, if they are few enough to be columns of the table of runs."""
    found = differing(ranked)
    return found if len(found) <= COLUMNS else {}


def runs_table(
    ranked: Mapping[str, ClassificationRun], stood: Mapping[str, Standing | None], links: Mapping[str, str]
) -> str:
    """One row per run, the best macro F1 on validation first: what differs from the others, and its metrics."""
    settings = studied(ranked)
    exact = any(run.results and run.results.validation.exact_match is not None for run in ranked.values())
    rows = []
    for i, (name, run) in enumerate(ranked.items()):
        found, results = stood[name], run.results
        test = results.test if results else None
        far = Markup(f"{percent(found.macro_f1)}<small>so far</small>") if found and not results else ""
        cells = [
            run_cell(name, run, links[name], i),
            *([values[i] for values in settings.values()] or [architecture(run.config)]),
            far or percent(found.macro_f1 if found else None),
            percent(test.macro_f1 if test else None),
            percent(found.accuracy if found else None),
            percent(test.accuracy if test else None),
        ]
        if exact:
            cells += [percent(results.validation.exact_match if results else None)]
            cells += [percent(test.exact_match if test else None)]
        seconds = training_seconds(run)
        parameters = sum(row.total or 0 for row in results.parameters) if results else 0
        cells += [
            f"{found.loss:.4f}" if found and math.isfinite(found.loss) else NONE,
            NONE if found is None or found.step is None else f"{found.step:,}",
            f"{parameters:,}" if parameters else NONE,
            duration(seconds) if seconds else NONE,
            verdict_chip(run),
        ]
        rows.append(("", cells))
    figures = ["macro F1", "accuracy", *(["exact match"] if exact else [])]
    heads = [head for figure in figures for head in (f"{figure}, validation", "test")]
    titles = [
        "run",
        *(settings or ["model"]),
        *heads,
        "loss, validation",
        "best step",
        "parameters",
        "time in steps",
        "checks",
    ]
    return table("The best macro F1 on validation first", titles, rows)


def overlaid(ranked: Mapping[str, ClassificationRun]) -> str:
    """Loss, macro F1, accuracy and learning rate of all runs, overlaid, and F1 by label."""
    charts = [
        curves("Training loss", lines(ranked, "train/loss"), smooth=True),
        curves("Validation loss", lines(ranked, "eval/validation/loss", marked=True)),
        curves("Macro F1 on validation", lines(ranked, "eval/validation/macro_f1", marked=True), as_percent=True),
        curves("Accuracy on validation", lines(ranked, "eval/validation/accuracy", marked=True), as_percent=True),
        curves("Learning rate", lines(ranked, "train/learning_rate")),
        by_label(ranked),
    ]
    return f'<div class="charts">{"".join(chart for chart in charts if chart)}</div>'


def by_label(ranked: Mapping[str, ClassificationRun]) -> str:
    """F1 on validation by label, one dot per run; empty if the runs have different labels, or are too many to plot."""
    known = {name: run.results.validation for name, run in ranked.items() if run.results}
    if not 1 < len(known) <= FEW or len({tuple(sorted(found.labels)) for found in known.values()}) > 1:
        return ""
    best = next(iter(known.values()))
    names, hidden = extremes(by_f1(best.labels))
    index = list(ranked)
    rows = {
        label: [(name, found.labels[label].f1, paint(index.index(name))) for name, found in known.items()]
        for label in names
    }
    note = f"The ten best and the ten worst of {len(best.labels)}." if hidden else ""
    return dots(f"F1 on validation by {kind_of_label(best)[0]}", rows, note, axis="F1")
