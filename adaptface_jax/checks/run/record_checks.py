# SPDX-License-Identifier: Apache-2.0
"""Checks of the records of a run: its training and its results."""

from __future__ import annotations

from collections.abc import Iterator

from adaptface_jax.checks.finding import Finding, Section, fault, note, ok, warning
from adaptface_jax.checks.run import classification, history, outcome
from adaptface_jax.checks.run.records import AnyRun, ClassificationRun, FaceRun
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import one_line
from adaptface_jax.training.checkpoint import CHECKPOINTS, Checkpoints
from adaptface_jax.training.run import check_copy


def check_records(run: AnyRun) -> Iterator[Section]:
    """Sections on the training, and on the results for each benchmark or each split."""
    if isinstance(run, ClassificationRun):
        model = run.config.model
        yield Section("training", f"{model.name} at {model.image_size} px", _training(run))
        yield from classification.sections(run.rows, run.results)
        return
    yield Section("training", f"{run.config.backbone.name}, {run.config.adapter.kind}", _training(run))
    for name, found in outcome.measured(run.rows, run.results).items():
        course = outcome.overfitting(run.rows, name, found.pairs)
        gains = outcome.gain(found, name, run.results, run.verdicts.get(name))
        findings = [outcome.verification(found), *gains, *([course] if course else [])]
        yield Section(f"benchmark {name}", "", tuple(findings))


def _training(run: AnyRun) -> tuple[Finding, ...]:
    rows = run.rows
    remarks = [*run.remarks]
    if isinstance(run, FaceRun):
        remarks += [*run.scores.remarks, *run.frozen_scores.remarks, *run.searches.remarks]
    damaged = [fault("records", remark, "restore the file, or train again to re-create it") for remark in remarks]
    findings: list[Finding | None] = [
        *damaged,
        ok("progress", run.state) if run.finished else note("progress", f"{run.state}: still running, or stopped"),
        history.falling_loss(rows)
        if isinstance(run, ClassificationRun)
        else history.loss(rows, run.config, run.record["data"]["classes"]),
        history.learning_rate(rows),
        history.gradients(rows),
        history.gates_in_training(rows, isinstance(run, FaceRun) and run.config.adapter.null_expert),
        history.waiting(rows),
    ]
    return (*(finding for finding in findings if finding is not None), *checkpoints(run))


def checkpoints(run: AnyRun) -> list[Finding]:
    """Which checkpoints are complete, and how far behind the log the last one is."""
    remarks: list[str] = []
    folder = run.workdir / CHECKPOINTS
    with Checkpoints(folder, read_only=True, say=remarks.append) as kept:
        latest, best = kept.latest(), kept.best()
    damaged = [
        fault("checkpoints", remark, "a damaged disk or copy; an older checkpoint is used")
        for remark in dict.fromkeys(remarks)
    ]
    due = run.last_step >= run.config.checkpoint.every_steps or run.results is not None
    if latest is None:
        says = fault("checkpoints", f"none is complete in {folder}", "was it moved or deleted, or was the disk full?")
        return [
            *damaged,
            says if due else note("checkpoints", f"none yet, the first at step {run.config.checkpoint.every_steps:,}"),
        ]
    try:
        check_copy(folder / str(latest), run.record)
    except InputError as error:
        return [*damaged, fault("checkpoints", one_line(error, 1000), "train, evaluate and export refuse this run")]
    what = f"latest {latest:,}" + (f", best {best:,}" if best is not None else "")
    if run.finished and latest < run.last_step and not damaged:
        advice = "was its last checkpoint moved or deleted? what opens this run gets an older state than its results"
        return [warning("checkpoints", f"{what}, but the run ended at step {run.last_step:,}", advice)]
    if run.last_step - latest > 2 * run.config.checkpoint.every_steps:
        return [
            *damaged,
            warning("checkpoints", f"{what}, but the log is at {run.last_step:,}", "saving fails: is the disk full?"),
        ]
    return damaged or [ok("checkpoints", what)]
