# SPDX-License-Identifier: Apache-2.0
"""`results.md` of a face training: the report of an experiment, every section filled from the records of the run.

General, configuration, final results, progress, analysis, comparison, files and next steps. What the run has no record
of is omitted, or named in one line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from adaptface_jax.checks.finding import Finding, Section, Severity, verdict
from adaptface_jax.checks.run.history import column, ends, evaluated
from adaptface_jax.checks.run.record_checks import check_records
from adaptface_jax.checks.run.records import FaceRun
from adaptface_jax.core.text import listed, pattern_text
from adaptface_jax.evaluation.markdown import (
    Part,
    benchmark_parts,
    comparison_parts,
    domain_parts,
    headed,
    page,
    verdict_lines,
)
from adaptface_jax.evaluation.markdown_tables import facts, parameters_table, percent, table
from adaptface_jax.evaluation.published_results import FIVE, of_five
from adaptface_jax.evaluation.results import Results
from adaptface_jax.models.adapters.places import router_words
from adaptface_jax.report.about import changed_settings, recognition_facts, time_facts
from adaptface_jax.report.next_steps import lead_of, steps_of
from adaptface_jax.report.progress_bars import best, best_and_last, evaluations, progress_parts
from adaptface_jax.report.recognition_page import label_of, over
from adaptface_jax.report.run_files import file_rows
from adaptface_jax.training.run import STORED

NEAR = 0.01  # accuracy that counts as near the best: one point


def experiment_markdown(run: FaceRun) -> str:
    """The complete document."""
    results = run.results or Results({})
    found = list(check_records(run))
    label = label_of(run)
    configuration = [("Model", _model(run)), (f"{label[:1].upper()}{label[1:]}", _adapter(run)), *_training(run)]
    changed = table(["setting", "value", "default"], changed_settings(run), 3)
    sections = [
        *verdict_lines(results),
        *headed([("General", _general(run))]),
        "## Configuration",
        *headed([*configuration, ("Settings that differ from the defaults", changed)], 3),
        "## Final results",
        *_best(run),
        *headed([*benchmark_parts(results), *domain_parts(results)], 3),
        "## Progress of the training",
        *(headed(progress_parts(run), 3) if run.rows else ["No step has been logged."]),
        "## Analysis",
        *headed(_analysis(run, found), 3),
        "## Comparison",
        *headed(comparison_parts(results), 3),
        *_not_comparable(results),
        *headed([("Files", table(["file", "what it is"], file_rows(run), 2))]),
        *headed([("Next steps", _next(run))]),
        _origin(results),
    ]
    return page(f"{run.workdir.resolve().name}: {over(run)}", sections)


def _general(run: FaceRun) -> str:
    """Who, when, how long and where."""
    results = run.results or Results({})
    machine = results.environment
    named = {"state": run.state, **dict(time_facts(run))}
    if run.times is None:
        named["began, ended"] = "not recorded"
    _, memory = column(run.rows, "train/device_memory_peak")
    if np.isfinite(memory).any():
        named["most device memory"] = f"{np.nanmax(memory):.3g} GB"
    named |= {name: machine[name] for name in ("devices", "processor", "processes", "system") if name in machine}
    if typed := machine.get("command"):
        named["command"] = f"`{typed}`"
    if commit := machine.get("commit"):
        named["commit"] = commit
    named["seed"] = str(run.config.seed)
    versions = {name: value for name, value in machine.items() if name not in (*named, "command", "commit")}
    if versions:
        named["versions"] = ", ".join(f"{name} {value}" for name, value in versions.items())
    return facts(named)


def _model(run: FaceRun) -> str:
    """Backbone, weights, data, and the table of parameters."""
    results, named = run.results or Results({}), dict(recognition_facts(run))
    named = {name: named[name] for name in ("backbone", "weights", "training data")}
    head = run.config.head
    named["head"] = f"linear, {head.embedding_dim}" if head.kind == "linear" else head.kind
    named["images"] = f"stored at {run.record[STORED]} px" if STORED in run.record else ""
    kept = [row for row in results.parameters if row.total is not None]
    if kept:
        total, trained = sum(row.total or 0 for row in kept), sum(row.trainable for row in kept)
        named["parameters"] = f"{total:,}"
        named["trainable"] = f"{trained:,} ({100 * trained / total:.2f}%)"
    shown = f"\n\n{parameters_table(results.parameters)}" if results.parameters else ""
    return facts(named) + shown


def _adapter(run: FaceRun) -> str:
    """The adapted layers and the settings of the adapter."""
    given = run.config.adapter
    if given.kind not in ("lora", "dalora"):
        return facts({"adapter": dict(recognition_facts(run))["adapter"]})
    named = {
        "rank": str(given.rank),
        "alpha": f"{given.alpha:g}",
        "targets": ", ".join(given.targets),
        "blocks": ", ".join(map(str, given.blocks)),
        "other ranks": pattern_text(given.rank_pattern),
        "other alphas": pattern_text(given.alpha_pattern),
        "dropout": f"{given.dropout:g}" if given.dropout else "",
        "scale": "alpha / sqrt(rank)" if given.use_rslora else "alpha / rank",
        "started from": given.init_from,
    }
    if given.kind == "dalora":
        named |= {
            "domains": str(given.num_domains),
            "router": router_words(given),
            "gate": given.gate,
            "shared rank": str(given.shared_rank or ""),
            "null expert": "yes" if given.null_expert else "",
            "balance weight": f"{given.balance_weight:g}",
            "domain loss weight": f"{given.domain_loss_weight:g}",
        }
    return facts(named)


def _training(run: FaceRun) -> Iterator[Part]:
    """The training settings and the loss."""
    train, loss = run.config.train, run.config.loss
    epochs = f"{run.last_step / run.epoch:,.4g}" if run.epoch else ""
    rate = f"{train.learning_rate:g}, {train.schedule}"
    rate += f" after a warm-up of {train.warmup_steps:,} steps" if train.warmup_steps else ""
    split = f", in {train.grad_accum} parts" if train.grad_accum > 1 else ""
    named = {
        "steps": f"{run.last_step:,} of {run.planned:,}",
        "epochs": f"{epochs} of {run.epoch:,} steps" if epochs else "",
        "batch size": f"{train.batch_size}{split}",
        "learning rate": rate,
        "optimizer": f"{train.optimizer}, weight decay {train.weight_decay:g}",
        "clipped gradient norm": "" if train.clip_norm is None else f"{train.clip_norm:g}",
        "moving average": f"decay {train.ema:g}" if train.ema else "",
        "precision of the frozen part": run.config.backbone.dtype,
    }
    yield "Training", facts(named)
    shape = {
        "combined": ("margins", ", ".join(f"{margin:g}" for margin in loss.margins)),
        "magface": ("norms, margins, weight", ", ".join(f"{value:g}" for value in loss.magface)),
    }
    margin, value = shape.get(loss.name, ("margin", f"{loss.margin:g}"))
    _, values = column(run.rows, "train/loss")
    first = f"{values[0]:.2f}" if len(values) and np.isfinite(values[0]) else ""
    yield "Loss", facts({"name": loss.name, "scale": f"{loss.scale:g}", margin: value, "first logged": first})


def _best(run: FaceRun) -> Iterator[str]:
    """The last and the best results on each benchmark."""
    names = evaluated(run.rows)
    if not names:
        return
    titles = ["benchmark", "accuracy at the end", "best", "at", "AUC at the end", "best", "at"]
    yield table(titles, [best_and_last(run, name) for name in names])
    kept = run.results.run.best_checkpoint if run.results and run.results.run else None
    where = f" The checkpoint of step {kept:,} is kept as the best." if kept is not None else ""
    yield f"The best evaluation is chosen on the pairs that it is measured on: an upper bound.{where}"


def _analysis(run: FaceRun, found: Sequence[Section]) -> Iterator[Part]:
    """The findings of the checks as sentences; then the course of the training."""
    groups = {
        "No problem": (Severity.OK,),
        "To check": (Severity.FAULT, Severity.WARNING),
        "Worth knowing": (Severity.NOTE,),
    }
    yield "Summary", f"{_sentence(verdict(found)[1])}"
    for title, severities in groups.items():
        said = [
            f"- {_said(section, finding)}"
            for section in found
            for finding in section.findings
            if finding.severity in severities
        ]
        if said:
            yield title, "\n".join(said)
    course = [f"- {line}" for line in _course(run)]
    if course:
        yield "How the training went", "\n".join(course)


def _said(section: Section, finding: Finding) -> str:
    where = f" ({section.title})" if section.title != "training" else ""
    advice = f" {_sentence(finding.advice)}" if finding.advice else ""
    return f"**{finding.check}**{where}: {finding.what}.{advice}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _course(run: FaceRun) -> Iterator[str]:
    """How much the loss still fell at the end, and when the accuracy came near its best."""
    _, losses = column(run.rows, "train/loss")
    losses = losses[np.isfinite(losses)]
    quarter = len(losses) // 4
    if quarter >= 2:
        first, last, _ = ends(losses)
        recent = losses[-quarter - 1 :]
        yield (
            f"The loss went from {first:.2f} to {last:.2f}; in the last quarter of the rows from "
            f"{float(recent[: len(recent) // 2].mean()):.2f} to {float(recent[len(recent) // 2 :].mean()):.2f} "
            "(means of its halves)."
        )
    for name in evaluated(run.rows):
        points = evaluations(run, name, "accuracy")
        top = points[best(points)]
        near = next(point for point in points if point.value >= top.value - NEAR)
        if len(points) > 2:
            yield (
                f"On {name} the accuracy was first within a point of its best ({percent(top.value)}, {top.label}) at "
                f"{near.label}; at the end it is {percent(points[-1].value)}."
            )


def _not_comparable(results: Results) -> Iterator[str]:
    """What cannot be compared, in one line each."""
    if not of_five(results.benchmarks):
        yield (
            f"None of {listed([name for name, _ in FIVE.values()])} was evaluated in this run, so nothing published is "
            "comparable."
        )
    if not results.frozen:
        yield "The frozen backbone was not evaluated in this run."


def _next(run: FaceRun) -> str:
    steps = [f"- [ ] {why}: `{typed}`" for why, typed in steps_of(run)]
    return "\n".join([lead_of(run), "", *steps])


def _origin(results: Results) -> str:
    version, made = results.environment.get("adaptface_jax"), results.reported
    if not (version and made):
        return ""
    return f"*Written by adaptface_jax {version}, {made}, from the records in this directory.*"
