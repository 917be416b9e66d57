"""A run's folder as its records tell it, during the run or after it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from adaptface_jax.checks.run.history import Rows
from adaptface_jax.config.classification import ClassificationConfig
from adaptface_jax.config.schema import Config
from adaptface_jax.core.errors import InputError
from adaptface_jax.evaluation.classification.results import ClassificationResults, read_classification
from adaptface_jax.evaluation.results import Results, read_results
from adaptface_jax.training.monitor import read_metrics
from adaptface_jax.training.run import RESULTS, recorded_config, required_record

Settings = TypeVar("Settings", Config, ClassificationConfig)
Outcome = TypeVar("Outcome", Results, ClassificationResults)


@dataclasses.dataclass(frozen=True)
class Run(Generic[Settings, Outcome]):
    """The records of a run; results is None while it has not finished."""

    workdir: Path
    config: Settings
    record: Mapping[str, Any]
    rows: Rows
    results: Outcome | None

    @property
    def last_step(self) -> int:
        return max((row["step"] for row in self.rows), default=0)

    @property
    def planned(self) -> int:
        epoch = self.record["data"]["images"] // self.config.train.batch_size
        return self.config.train.steps or self.config.train.epochs * epoch

    @property
    def ended_early(self) -> str:
        """Why it is over before its last step, or ""."""
        return self.results.run.ended_early if self.results and self.results.run else ""

    @property
    def finished(self) -> bool:
        return self.results is not None and (self.last_step >= self.planned or bool(self.ended_early))

    @property
    def state(self) -> str:
        """Finished, and why early, or how far it is."""
        if self.ended_early and self.results and self.results.run:
            return f"ended early after {self.results.run.steps:,} of {self.planned:,} steps: {self.ended_early}"
        if self.finished:
            return f"finished, {self.last_step:,} steps"
        return f"not finished: step {self.last_step:,} of {self.planned:,}"


class FaceRun(Run[Config, Results]):
    """A face training."""


class ClassificationRun(Run[ClassificationConfig, ClassificationResults]):
    """A classifier's training."""


AnyRun = FaceRun | ClassificationRun


def read_run(workdir: Path, flag: str = "--run: ", results: Results | ClassificationResults | None = None) -> AnyRun:
    """The records in `workdir`, with its final numbers or those that are about to be written.

    Raises InputError, which begins with `flag`, where it holds no run or a damaged one.
    """
    record = required_record(workdir, flag)
    config, report = recorded_config(workdir, record), workdir / RESULTS
    try:
        rows = read_metrics(workdir)
        if isinstance(config, Config):
            faces = results if isinstance(results, Results) else read_results(report) if report.exists() else None
            return FaceRun(workdir, config, record, rows, faces)
        known = results if isinstance(results, ClassificationResults) else None
        if known is None and report.exists():
            known = read_classification(report)
        return ClassificationRun(workdir, config, record, rows, known)
    except (OSError, ValueError, InputError) as error:
        raise InputError(f"{flag}{workdir}: its results or metrics cannot be read ({error}); restore them") from None
