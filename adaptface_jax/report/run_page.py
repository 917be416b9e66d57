"""`results.html`: one run on one page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from adaptface_jax.checks.finding import MARKS, Section, Severity, verdict
from adaptface_jax.checks.run import outcome
from adaptface_jax.checks.run.record_checks import check_records
from adaptface_jax.checks.run.records import Run
from adaptface_jax.core.version import __version__
from adaptface_jax.evaluation.pair_scores import FROZEN, SCORES, PairScores, read_scores
from adaptface_jax.evaluation.plots import Curve, paint
from adaptface_jax.evaluation.results import BenchmarkResult, Results
from adaptface_jax.evaluation.roc import roc_curve
from adaptface_jax.report.about import about_section, adapter
from adaptface_jax.report.benchmarks import answer, domains_table, figures_table, published_table
from adaptface_jax.report.drawing import distance_chart, roc_chart
from adaptface_jax.report.gates import gates_section
from adaptface_jax.report.paired_tests import against_frozen
from adaptface_jax.report.style import page
from adaptface_jax.report.training import training_section

LABELS = {"lora": "LoRA", "dalora": "DA-LoRA", "none": "the linear probe", "full": "full fine-tuning"}


def run_page(run: Run, home: str = "") -> str:
    """The whole document. home: the link to a page over several runs, or "" for none."""
    found = list(check_records(run))
    body = "\n".join(part for part in _body(run, found, home) if part)
    footer = f"adaptface_jax {escape(__version__)}. This page stands alone: it loads nothing and runs nothing."
    return page(f"{name_of(run)}: face verification", body, footer)


def name_of(run: Run) -> str:
    return run.workdir.resolve().name


def label_of(run: Run) -> str:
    return LABELS[run.config.adapter.kind]


def state_of(run: Run) -> str:
    """Finished, or how far it is."""
    if run.results is not None and run.last_step >= run.planned:
        return f"finished, {run.last_step:,} steps"
    return f"not finished: step {run.last_step:,} of {run.planned:,}"


def benchmarks_of(run: Run) -> dict[str, BenchmarkResult]:
    """The final report's figures; none before there is one."""
    return run.results.benchmarks if run.results else {}


def scores_of(run: Run, frozen: bool = False) -> dict[str, PairScores]:
    """Benchmark name -> what the run's model made of each pair, of those whose file is there; raises InputError.

    frozen: what the unadapted backbone did.
    """
    folder = run.workdir / SCORES / (FROZEN if frozen else "")
    files = {name: folder / f"{name}.npz" for name in benchmarks_of(run)}
    return {name: read_scores(file)[name] for name, file in files.items() if file.is_file()}


def _body(run: Run, found: list[Section], home: str) -> Iterator[str]:
    config, results = run.config, run.results or Results({})
    benchmarks, label = benchmarks_of(run), label_of(run)
    worst, line = verdict(found)
    back = f'<a href="{escape(home)}">All runs</a> · ' if home else ""
    yield f'<p class="over">{back}{escape(adapter(config))}, on {escape(config.backbone.name)}</p>'
    yield f"<h1>{escape(name_of(run))}</h1>"
    unfinished = not state_of(run).startswith("finished")
    state = f'<span class="chip{" warning" if unfinished else ""}">{escape(state_of(run))}</span>'
    yield f'<p>{state} <a class="chip {worst}" href="#findings">{MARKS[worst]} {escape(line)}</a></p>'
    if benchmarks:
        scores, before = scores_of(run), scores_of(run, frozen=True)
        yield answer(label[:1].upper() + label[1:], results, against_frozen(before, scores))
    elif unfinished:
        yield _so_far(run)
    else:
        yield '<p class="answer">No benchmark was given, so nothing was verified.</p>'
    yield "<h2>Training</h2>" + training_section(run)
    if benchmarks:
        yield "<h2>Benchmarks</h2>" + figures_table(benchmarks) + domains_table(benchmarks, results.frozen)
        yield pair_charts(scores, before, benchmarks)
    shown = gates_section(run, benchmarks)
    if shown:
        yield "<h2>Which domain is active</h2>" + shown
    yield '<h2 id="findings">What looks wrong</h2>' + findings_section(found)
    if benchmarks:
        yield "<h2>Beside published figures</h2>" + published_table(label, benchmarks)
    yield "<h2>What was run</h2>" + about_section(run)


def _so_far(run: Run) -> str:
    """The last evaluation of a run that goes on."""
    entries = outcome.measured(run.rows, None)
    if not entries:
        return '<p class="answer">This run is not finished, and nothing is verified yet.</p>'
    said = ", ".join(f"{escape(name)} <b>{100 * entry.accuracy:.2f}%</b>" for name, entry in entries.items())
    return f'<p class="answer">This run is not finished. Accuracy so far: {said}.</p>'


def pair_charts(
    scores: Mapping[str, PairScores], frozen: Mapping[str, PairScores], benchmarks: Mapping[str, Any]
) -> str:
    """ROC of all benchmarks, and each one's distances; empty where no scores are kept."""
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
    note = "A FAR below one false accept has no point; the dotted line is chance."
    charts = [roc_chart("True accept rate over false accept rate", curves, note)]
    charts += [
        distance_chart(f"Share of pairs by distance, {name}", kept, benchmarks[name].threshold)
        for name, kept in known.items()
    ]
    return f'<div class="charts">{"".join(charts)}</div>'


def findings_section(found: list[Section]) -> str:
    """What needs a look first, open; everything that was checked, folded."""
    odd = [(s, f) for s in found for f in s.findings if f.severity in (Severity.WARNING, Severity.FAULT)]
    everything = [(s, f) for s in found for f in s.findings]
    lead = verdict(found)[1]
    parts = [f'<p class="lead">{escape(lead[:1].upper() + lead[1:])}.</p>']
    if odd:
        parts.append(_listed(odd))
    parts.append(f"<details><summary>All {len(everything)} checks</summary>{_listed(everything)}</details>")
    return "".join(parts)


def _listed(rows: list[tuple[Section, Any]]) -> str:
    items = []
    for section, finding in rows:
        advice = f"<span>→ {escape(finding.advice)}</span>" if finding.advice else ""
        where = f" <small>({escape(section.title)})</small>" if section.title != "training" else ""
        items.append(
            f'<li class="{finding.severity}"><i aria-label="{finding.severity}">{MARKS[finding.severity]}</i>'
            f"<b>{escape(finding.check)}</b><div>{escape(finding.what)}{where}</div>{advice}</li>"
        )
    return f'<ul class="findings">{"".join(items)}</ul>'
