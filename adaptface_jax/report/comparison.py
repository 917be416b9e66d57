"""Several face runs side by side: their table, curves over each other, and whether the differences are real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from adaptface_jax.checks.run.records import FaceRun
from adaptface_jax.core.text import duration
from adaptface_jax.evaluation.pair_scores import PairScores
from adaptface_jax.evaluation.plots import Curve, paint
from adaptface_jax.evaluation.published_results import average, by_category
from adaptface_jax.evaluation.results import BenchmarkResult, BenchmarkResults, Results
from adaptface_jax.evaluation.roc import roc_curve
from adaptface_jax.report.about import training_seconds
from adaptface_jax.report.benchmarks import accuracy_interval, mean_accuracy
from adaptface_jax.report.charts import curves, dots
from adaptface_jax.report.drawing import roc_chart
from adaptface_jax.report.paired_tests import paired_tables
from adaptface_jax.report.recipes import recipes_section
from adaptface_jax.report.recognition_page import benchmarks_of, label_of
from adaptface_jax.report.side_by_side import TITLE, lines, run_cell, settings_table, title, verdict_chip
from adaptface_jax.report.style import document
from adaptface_jax.report.tables import NONE, between, percent, points, table
from adaptface_jax.report.yardstick import yardstick_section


def comparison_page(named: Mapping[str, FaceRun], links: Mapping[str, str]) -> str:
    """The document over runs by their names. links: the page of each, relative."""
    scores = {name: run.scores.found for name, run in named.items()}
    benchmarks = list(dict.fromkeys(name for run in named.values() for name in benchmarks_of(run)))
    body = [
        title(len(named)),
        _best(named),
        "<h2>Runs</h2>",
        runs_table(named, links, benchmarks),
        settings_table(named),
        yardstick_section(named, benchmarks),
        "<h2>Curves</h2>",
        overlaid(named, scores, benchmarks),
    ]
    if len(named) > 1:
        body.append(recipes_section(named, scores, benchmarks))
        body += ["<h2>Is the difference real?</h2>", paired_tables(scores, benchmarks)]
    return document(TITLE, body)


def _best(named: Mapping[str, FaceRun]) -> str:
    """Which run is ahead on what all of them were verified on."""
    finished = {name: benchmarks_of(run) for name, run in named.items() if benchmarks_of(run)}
    if not finished:
        return '<p class="answer">No run has been verified yet.</p>'
    shared = set.intersection(*(set(entries) for entries in finished.values()))
    if not shared:
        return '<p class="answer">The runs share no benchmark, so none is ahead.</p>'
    ranks = {name: mean_accuracy(entries[b] for b in sorted(shared)) for name, entries in finished.items()}
    best = max(ranks, key=lambda name: ranks[name])
    where = f"on {escape(next(iter(shared)))}" if len(shared) == 1 else f"over {len(shared)} shared benchmarks"
    return f'<p class="answer"><b>{escape(best)}</b> has the highest accuracy {where}: {percent(ranks[best])}.</p>'


def runs_table(named: Mapping[str, FaceRun], links: Mapping[str, str], benchmarks: Sequence[str]) -> str:
    """A row a run: what it is, its accuracies, their means, and the gain over its frozen backbone."""
    rows = []
    categories = _shared_categories(named)
    five = any(average(benchmarks_of(run)) is not None for run in named.values())
    for i, (name, run) in enumerate(named.items()):
        entries, results = benchmarks_of(run), run.results or Results({})
        frozen = results.frozen
        both = [b for b in entries if b in frozen]
        gain = mean_accuracy(entries[b] for b in both) - mean_accuracy(frozen[b] for b in both) if both else None
        cells = [run_cell(name, run, links[name], i), label_of(run).removeprefix("the ")]
        cells += [_accuracy(entries.get(b)) for b in benchmarks]
        cells += [_category(entries, category) for category in categories]
        if five:
            total = average(entries)
            cells.append(NONE if total is None else f"{total:.2f}%")
        seconds = training_seconds(run)
        trainable = [row.trainable for row in results.parameters if row.total is not None]
        cells += [
            points(gain),
            f"{sum(trainable):,}" if trainable else NONE,
            duration(seconds) if seconds else NONE,
            verdict_chip(run),
        ]
        rows.append(("", cells))
    titles = ["run", "adapter", *benchmarks, *[f"mean, {category}" for category in categories]]
    titles += ["average of five"] if five else []
    titles += ["gain over frozen", "trainable", "time in steps", "checks"]
    return table("Accuracy", titles, rows, "", 2)


def _accuracy(entry: BenchmarkResult | None) -> str:
    if entry is None:
        return NONE
    return between(entry.accuracy, accuracy_interval(entry), percent(entry.accuracy))


def _shared_categories(named: Mapping[str, FaceRun]) -> list[str]:
    """Categories of which some run has more than one benchmark: else their mean says nothing new."""
    found: dict[str, None] = {}
    for run in named.values():
        found |= dict.fromkeys(c for c, members in by_category(benchmarks_of(run)).items() if len(members) > 1)
    return list(found)


def _category(entries: BenchmarkResults, category: str) -> str:
    members = by_category(entries).get(category)
    return percent(mean_accuracy(members.values())) if members else NONE


def overlaid(
    named: Mapping[str, FaceRun], scores: Mapping[str, Mapping[str, PairScores]], benchmarks: Sequence[str]
) -> str:
    """Loss, accuracy and ROC of all runs over each other."""
    charts = [curves("Training loss", lines(named, "train/loss"), smooth=True)]
    for benchmark in benchmarks:
        charts.append(
            curves(f"Accuracy on {benchmark}", lines(named, f"eval/{benchmark}/accuracy", marked=True), as_percent=True)
        )
        found = [
            Curve(name, roc_curve(kept[benchmark].distance, kept[benchmark].issame), paint(i))
            for i, (name, kept) in enumerate(scores.items())
            if benchmark in kept
        ]
        if found:
            charts.append(roc_chart(f"True over false accept rate, {benchmark}", found))
    charts.append(by_domain(named))
    return f'<div class="charts">{"".join(chart for chart in charts if chart)}</div>'


def by_domain(named: Mapping[str, FaceRun]) -> str:
    """Accuracy on each benchmark and domain, a dot a run, beside the frozen backbone where the runs share it."""
    frozen = [run.results.frozen for run in named.values() if run.results and run.results.frozen]
    shared = frozen[0] if frozen and all(found == frozen[0] for found in frozen) else {}
    sources: dict[str, tuple[BenchmarkResults, str]] = {
        name: (benchmarks_of(run), paint(i)) for i, (name, run) in enumerate(named.items())
    }
    sources = {"frozen backbone": (shared, "base"), **sources}
    rows: dict[str, list[tuple[str, float, str]]] = {}
    for name, (entries, kind) in sources.items():
        for benchmark, entry in entries.items():
            rows.setdefault(benchmark, []).append((name, entry.accuracy, kind))
            for domain, found in entry.domains.items():
                rows.setdefault(f"{benchmark}: {domain}", []).append((name, found.accuracy, kind))
    return dots("Accuracy by benchmark and domain", dict(sorted(rows.items()))) if rows else ""
