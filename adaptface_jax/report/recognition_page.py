"""The page of a face training: whether it helped, where, and its training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from adaptface_jax.checks.finding import Section
from adaptface_jax.checks.run import outcome
from adaptface_jax.checks.run.records import FaceRun
from adaptface_jax.evaluation.headline import LABELS
from adaptface_jax.evaluation.pair_scores import PairScores
from adaptface_jax.evaluation.plots import Curve, paint
from adaptface_jax.evaluation.results import BenchmarkResult, Results
from adaptface_jax.evaluation.roc import roc_curve
from adaptface_jax.report.about import about_section, adapter
from adaptface_jax.report.benchmarks import answer, domains_table, generated_note, metrics_table, published_table
from adaptface_jax.report.conditions import conditions_section
from adaptface_jax.report.drawing import distance_chart, roc_chart
from adaptface_jax.report.findings import findings_section
from adaptface_jax.report.gates import gates_section
from adaptface_jax.report.searches import searches_section
from adaptface_jax.report.training import recognition_accuracy, recognition_loss, training_section


def label_of(run: FaceRun) -> str:
    return LABELS[run.config.adapter.kind]


def benchmarks_of(run: FaceRun) -> dict[str, BenchmarkResult]:
    """The metrics of the final report; empty before there is one."""
    return run.results.benchmarks if run.results else {}


def over(run: FaceRun) -> str:
    """The line above the run's name."""
    return f"{adapter(run.config)}, on {run.config.backbone.name}"


def sections(run: FaceRun, found: list[Section]) -> Iterator[str]:
    """The page below the run's name and state; some parts are empty."""
    results = run.results or Results({})
    benchmarks, label = benchmarks_of(run), label_of(run)
    if benchmarks:
        scores, before = run.scores.found, run.frozen_scores.found
        yield generated_note(run.generated, benchmarks)
        yield answer(label[:1].upper() + label[1:], results, run.verdicts)
    elif not run.finished:
        yield _so_far(run)
    else:
        yield '<p class="answer">No benchmark was given, so nothing was evaluated.</p>'
    yield "<h2>Training</h2>" + training_section(run.rows, [recognition_loss(run), recognition_accuracy(run)])
    if benchmarks:
        yield "<h2>Benchmarks</h2>" + metrics_table(benchmarks)
        yield domains_table(benchmarks, results.frozen, run.verdicts)
        yield conditions_section(benchmarks, results.frozen, run.verdicts)
        yield pair_charts(scores, before, benchmarks)
    if searched := searches_section(run.searches.found):
        yield "<h2>Searches</h2>" + searched
    shown = gates_section(run, benchmarks)
    if shown:
        yield "<h2>Gates and domains</h2>" + shown
    yield '<h2 id="findings">Diagnostics</h2>' + findings_section(found)
    if benchmarks:
        yield "<h2>Published results</h2>" + published_table(label, benchmarks)
    yield "<h2>Configuration</h2>" + about_section(run)


def _so_far(run: FaceRun) -> str:
    """The last evaluation of an unfinished run."""
    entries = outcome.measured(run.rows, None)
    if not entries:
        return '<p class="answer">This run is not finished, and nothing has been evaluated yet.</p>'
    said = ", ".join(f"{escape(name)} <b>{100 * entry.accuracy:.2f}%</b>" for name, entry in entries.items())
    return f'<p class="answer">This run is not finished. Accuracy so far: {said}.</p>'


def pair_charts(
    scores: Mapping[str, PairScores], frozen: Mapping[str, PairScores], benchmarks: Mapping[str, Any]
) -> str:
    """ROC of all benchmarks, and the distances of each; empty if no scores are stored."""
    known = {name: scores[name] for name in benchmarks if name in scores}
    if not known:
        return ""
    curves = []
    for i, (name, kept) in enumerate(known.items()):
        kind = "main" if i == 0 else paint(i)
        curves.append(Curve(name, roc_curve(kept.distance, kept.issame), kind))
        if name in frozen:
            before = frozen[name]
            curves.append(Curve(f"{name}, frozen", roc_curve(before.distance, before.issame), kind, dashed=True))
    note = "There are no points below one false accept; the dotted line is chance."
    charts = [roc_chart("True accept rate over false accept rate", curves, note)]
    charts += [
        distance_chart(f"Share of pairs by distance, {name}", kept, benchmarks[name].threshold)
        for name, kept in known.items()
    ]
    return f'<div class="charts">{"".join(charts)}</div>'
