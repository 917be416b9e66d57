"""Several runs side by side: their table, curves over each other, and whether the differences are real."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from html import escape

from adaptface_jax.checks.finding import verdict
from adaptface_jax.checks.run.history import column
from adaptface_jax.checks.run.record_checks import check_records
from adaptface_jax.checks.run.records import Run
from adaptface_jax.core import trees
from adaptface_jax.core.version import __version__
from adaptface_jax.evaluation.pair_scores import PairScores
from adaptface_jax.evaluation.plots import Curve, paint
from adaptface_jax.evaluation.published_results import average, by_category
from adaptface_jax.evaluation.results import BenchmarkResult, BenchmarkResults, Results
from adaptface_jax.evaluation.roc import roc_curve
from adaptface_jax.report.about import text, training_seconds
from adaptface_jax.report.benchmarks import accuracy_interval, mean_accuracy
from adaptface_jax.report.charts import Line, curves, dots
from adaptface_jax.report.drawing import roc_chart
from adaptface_jax.report.paired_tests import paired_tables
from adaptface_jax.report.run_page import benchmarks_of, label_of, scores_of, state_of
from adaptface_jax.report.style import page
from adaptface_jax.report.tables import NONE, Markup, between, duration, percent, points, table

FILE = "index.html"


def comparison_page(named: Mapping[str, Run], links: Mapping[str, str]) -> str:
    """The document over runs by their names. links: the page of each, relative."""
    scores = {name: scores_of(run) for name, run in named.items()}
    benchmarks = list(dict.fromkeys(name for run in named.values() for name in benchmarks_of(run)))
    count = len(named)
    body = [
        '<p class="over">adaptface_jax</p>',
        f"<h1>{count} run{'s' if count != 1 else ''} side by side</h1>",
        _best(named),
        "<h2>Runs</h2>",
        runs_table(named, links, benchmarks),
        settings_table(named),
        "<h2>Curves</h2>",
        overlaid(named, scores, benchmarks),
    ]
    if count > 1:
        body += ["<h2>Is the difference real?</h2>", paired_tables(scores, benchmarks)]
    footer = f"adaptface_jax {escape(__version__)}. This page stands alone: it loads nothing and runs nothing."
    return page("Runs side by side", "\n".join(part for part in body if part), footer)


def _best(named: Mapping[str, Run]) -> str:
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


def runs_table(named: Mapping[str, Run], links: Mapping[str, str], benchmarks: Sequence[str]) -> str:
    """A row a run: what it is, its accuracies, their means, and the gain over its frozen backbone."""
    rows = []
    categories = _shared_categories(named)
    five = any(average(benchmarks_of(run)) is not None for run in named.values())
    for i, (name, run) in enumerate(named.items()):
        entries, results = benchmarks_of(run), run.results or Results({})
        frozen = results.frozen
        both = [b for b in entries if b in frozen]
        gain = mean_accuracy(entries[b] for b in both) - mean_accuracy(frozen[b] for b in both) if both else None
        link = f'<i class="key {paint(i)}"></i><a href="{escape(links[name])}">{escape(name)}</a>'
        cells = [Markup(f"{link}<small>{escape(state_of(run))}</small>"), label_of(run).removeprefix("the ")]
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
            _verdict(run),
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


def _shared_categories(named: Mapping[str, Run]) -> list[str]:
    """Categories of which some run has more than one benchmark: else their mean says nothing new."""
    found: dict[str, None] = {}
    for run in named.values():
        found |= dict.fromkeys(c for c, members in by_category(benchmarks_of(run)).items() if len(members) > 1)
    return list(found)


def _category(entries: BenchmarkResults, category: str) -> str:
    members = by_category(entries).get(category)
    return percent(mean_accuracy(members.values())) if members else NONE


def _verdict(run: Run) -> str:
    worst, line = verdict(check_records(run))
    short = line.partition(":")[0]
    return Markup(f'<span class="chip {worst}" title="{escape(line)}">{escape(short)}</span>')


def settings_table(named: Mapping[str, Run]) -> str:
    """The settings in which the runs differ."""
    flat = {name: trees.flatten(dataclasses.asdict(run.config), ".") for name, run in named.items()}
    paths = sorted({path for settings in flat.values() for path in settings})
    rows = []
    for path in paths:
        values = [text(settings.get(path)) for settings in flat.values()]
        if len(set(values)) > 1:
            rows.append(("", [path, *values]))
    if not rows:
        return ""
    return table("Settings in which they differ", ["setting", *named], rows)


def overlaid(
    named: Mapping[str, Run], scores: Mapping[str, Mapping[str, PairScores]], benchmarks: Sequence[str]
) -> str:
    """Loss, accuracy and ROC of all runs over each other."""

    def lines(tag: str) -> list[Line]:
        found = [(name, *column(run.rows, tag), paint(i)) for i, (name, run) in enumerate(named.items())]
        return [Line(*line) for line in found if len(line[1])]

    charts = [curves("Training loss", lines("train/loss"), smooth=True)]
    for benchmark in benchmarks:
        charts.append(
            curves(f"Accuracy on {benchmark}", lines(f"eval/{benchmark}/accuracy"), as_percent=True, marked=True)
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


def by_domain(named: Mapping[str, Run]) -> str:
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
