"""A run's folder as its records tell it, during the run or after it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adaptface_jax.checks.finding import Finding, Section, fault, note, ok, warning
from adaptface_jax.checks.run import history, outcome
from adaptface_jax.config import overrides
from adaptface_jax.config.schema import Config
from adaptface_jax.core.errors import InputError
from adaptface_jax.evaluation.results import RESULTS
from adaptface_jax.training.checkpoint import CHECKPOINTS, Checkpoints
from adaptface_jax.training.monitor import read_metrics
from adaptface_jax.training.run import RUN_FILE, read_record


@dataclasses.dataclass(frozen=True)
class Run:
    """The records of a run; results is None while it has not finished."""

    workdir: Path
    config: Config
    record: Mapping[str, Any]
    rows: history.Rows
    results: Mapping[str, Any] | None

    @property
    def last_step(self) -> int:
        return max((row["step"] for row in self.rows), default=0)

    @property
    def planned(self) -> int:
        epoch = self.record["data"]["images"] // self.config.train.batch_size
        return self.config.train.steps or self.config.train.epochs * epoch


def read(workdir: Path, flag: str = "--run: ", results: Mapping[str, Any] | None = None) -> Run:
    """The records in `workdir`, with its final figures or those that are about to be written.

    Raises InputError, which begins with `flag`, where it holds no run or a damaged one.
    """
    record = read_record(workdir)
    if record is None:
        raise InputError(f"{flag}{workdir} holds no run (no {RUN_FILE}); expected the --workdir of a training")
    report = workdir / RESULTS
    try:
        if results is None and report.exists():
            results = json.loads(report.read_text(encoding="utf-8"))
        rows = read_metrics(workdir)
    except (OSError, ValueError) as error:
        raise InputError(f"{flag}{workdir}: its results or metrics cannot be read ({error}); restore them") from None
    return Run(workdir, overrides.freeze(record["config"]), record, rows, results)


def examine(run: Run) -> Iterator[Section]:
    """What the records say: of the training, and of each benchmark's figures."""
    yield Section("training", f"{run.config.backbone.name}, {run.config.adapter.kind}", _training(run))
    for name, entry in outcome.figures(run.rows, run.results).items():
        course = outcome.overfitting(run.rows, name, entry.get("pairs"))
        findings = [outcome.verification(entry), *outcome.gain(entry, name, run.results), *([course] if course else [])]
        yield Section(f"benchmark {name}", "", tuple(findings))


def _training(run: Run) -> tuple[Finding, ...]:
    rows, step, planned = run.rows, run.last_step, run.planned
    findings: list[Finding | None] = [
        ok("progress", f"finished: {step:,} steps")
        if run.results is not None and step >= planned
        else note("progress", f"step {step:,} of {planned:,}: still running, or stopped")
    ]
    findings += history.loss(rows, run.config, run.record["data"]["classes"])
    findings += [history.learning_rate(rows), history.gradients(rows), history.gates(rows), history.waiting(rows)]
    return (*(finding for finding in findings if finding is not None), *checkpoints(run))


def checkpoints(run: Run) -> list[Finding]:
    """Complete checkpoints there are, and how far the last one is behind."""
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
        says = fault("checkpoints", f"none is complete in {folder}", "was it moved, deleted, or the disk full?")
        return [
            *damaged,
            says if due else note("checkpoints", f"none yet, the first at step {run.config.checkpoint.every_steps:,}"),
        ]
    what = f"latest {latest:,}" + (f", best {best:,}" if best is not None else "")
    if run.last_step - latest > 2 * run.config.checkpoint.every_steps:
        return [
            *damaged,
            warning("checkpoints", f"{what}, but the log is at {run.last_step:,}", "saving fails: is the disk full?"),
        ]
    return damaged or [ok("checkpoints", what)]
