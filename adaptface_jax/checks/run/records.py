"""A run's folder as its records tell it, during the run or after it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adaptface_jax.checks.run.history import Rows
from adaptface_jax.config.schema import Config
from adaptface_jax.core.errors import InputError
from adaptface_jax.evaluation.results import Results, read_results
from adaptface_jax.training.monitor import read_metrics
from adaptface_jax.training.recognition.run import recognition_config
from adaptface_jax.training.run import RESULTS, RUN_FILE, read_record


@dataclasses.dataclass(frozen=True)
class Run:
    """The records of a run; results is None while it has not finished."""

    workdir: Path
    config: Config
    record: Mapping[str, Any]
    rows: Rows
    results: Results | None

    @property
    def last_step(self) -> int:
        return max((row["step"] for row in self.rows), default=0)

    @property
    def planned(self) -> int:
        epoch = self.record["data"]["images"] // self.config.train.batch_size
        return self.config.train.steps or self.config.train.epochs * epoch


def read_run(workdir: Path, flag: str = "--run: ", results: Results | None = None) -> Run:
    """The records in `workdir`, with its final numbers or those that are about to be written.

    Raises InputError, which begins with `flag`, where it holds no run or a damaged one.
    """
    record = read_record(workdir)
    if record is None:
        raise InputError(f"{flag}{workdir} holds no run (no {RUN_FILE}); expected the --workdir of a training")
    report = workdir / RESULTS
    try:
        if results is None and report.exists():
            results = read_results(report)
        rows = read_metrics(workdir)
    except (OSError, ValueError, InputError) as error:
        raise InputError(f"{flag}{workdir}: its results or metrics cannot be read ({error}); restore them") from None
    return Run(workdir, recognition_config(workdir, record), record, rows, results)
