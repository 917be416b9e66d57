# SPDX-License-Identifier: Apache-2.0
"""The records in a run's folder, during the run or after it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from adaptface_jax.checks.run.history import Rows
from adaptface_jax.checks.run.times import Times, read_times
from adaptface_jax.config.classification import ClassificationConfig
from adaptface_jax.config.schema import Config, is_name
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural
from adaptface_jax.data.benchmarks.synthetic import generated_of
from adaptface_jax.evaluation.classification.results import ClassificationResults, read_classification
from adaptface_jax.evaluation.pair_scores import FROZEN, SCORES, PairScores, read_scores
from adaptface_jax.evaluation.recorded_searches import RecordedSearch, read_searches
from adaptface_jax.evaluation.results import Results, read_results
from adaptface_jax.evaluation.statistics.paired_test import changes
from adaptface_jax.evaluation.statistics.verdict import Verdict, judged
from adaptface_jax.training.monitor import read_metrics
from adaptface_jax.training.run import RESULTS, recorded_config, required_record

Settings = TypeVar("Settings", Config, ClassificationConfig)
Outcome = TypeVar("Outcome", Results, ClassificationResults)
Found = TypeVar("Found")


class KeptScores(NamedTuple):
    """found: benchmark name -> its scores. remarks: which of them could not be read."""

    found: dict[str, PairScores]
    remarks: list[str]


class KeptSearches(NamedTuple):
    """found: name of a search -> its metrics. remarks: as in `KeptScores`."""

    found: dict[str, RecordedSearch]
    remarks: list[str]


@dataclasses.dataclass(frozen=True)
class Run(Generic[Settings, Outcome]):
    """The records of a run; results is None until it has finished. remarks: which of them could not be read."""

    workdir: Path
    config: Settings
    record: Mapping[str, Any]
    rows: Rows
    results: Outcome | None
    remarks: tuple[str, ...] = ()

    @property
    def last_step(self) -> int:
        return max((row["step"] for row in self.rows), default=0)

    @property
    def epoch(self) -> int:
        """Steps of an epoch; 0 where the number of images is not recorded."""
        return int(self.record["data"].get("images", 0)) // self.config.train.batch_size

    @property
    def planned(self) -> int:
        return self.config.train.steps or self.config.train.epochs * self.epoch

    @functools.cached_property
    def times(self) -> Times | None:
        """When it began and ended, and how long it took; None where that is not recorded."""
        return read_times(self.workdir)

    @property
    def ended_early(self) -> str:
        """Why it ended before its last step, or ""."""
        return self.results.run.ended_early if self.results and self.results.run else ""

    @property
    def finished(self) -> bool:
        return self.results is not None and (self.last_step >= self.planned or bool(self.ended_early))

    @property
    def state(self) -> str:
        """Finished, and why early if so, or how far it is."""
        if self.ended_early and self.results and self.results.run:
            return f"ended early after {self.results.run.steps:,} of {self.planned:,} steps: {self.ended_early}"
        if self.finished:
            return f"finished, {plural(self.last_step, 'step')}"
        return f"not finished: step {self.last_step:,} of {self.planned:,}"


class FaceRun(Run[Config, Results]):
    """A face training."""

    @functools.cached_property
    def scores(self) -> KeptScores:
        """The scores of its model for each pair."""
        return self._kept("")

    @functools.cached_property
    def frozen_scores(self) -> KeptScores:
        """The same for the unadapted backbone."""
        return self._kept(FROZEN)

    @functools.cached_property
    def searches(self) -> KeptSearches:
        """What `evaluate --record` stored with it."""
        try:
            return KeptSearches(read_searches(self.workdir), [])
        except InputError as error:
            return KeptSearches({}, [f"{error}; skipped"])

    @property
    def generated(self) -> tuple[str, ...]:
        """The benchmarks whose faces are generated."""
        return generated_of(self.config.data.benchmarks)

    @functools.cached_property
    def verdicts(self) -> dict[str, Verdict]:
        """Whether its model differs from the unadapted backbone, for each benchmark where that was tested."""
        known = self.results.changes if self.results else {}
        return judged(known or changes(self.frozen_scores.found, self.scores.found))

    def _kept(self, folder: str) -> KeptScores:
        kept = KeptScores({}, [])
        for name in self.results.benchmarks if self.results else ():
            file = self.workdir / SCORES / folder / f"{name}.npz"
            if not is_name(name) or not file.is_file():
                continue
            try:
                kept.found[name] = read_scores(file)[name]
            except InputError as error:
                kept.remarks.append(f"{error}; skipped")
            except KeyError:
                kept.remarks.append(f"{file}: contains no scores of {name}; skipped")
        return kept


class ClassificationRun(Run[ClassificationConfig, ClassificationResults]):
    """A classifier's training."""


AnyRun = FaceRun | ClassificationRun


def read_run(workdir: Path, flag: str = "--run: ", results: Results | ClassificationResults | None = None) -> AnyRun:
    """The records in `workdir`, with its final results or those that are about to be written.

    Other damaged files are skipped, and reported in `remarks`. Raises InputError, which begins with `flag`, if there
    is no run, or its record is damaged.
    """
    record = required_record(workdir, flag)
    config, remarks = recorded_config(workdir, record), list[str]()
    rows = read_metrics(workdir, remarks.append)
    if isinstance(config, Config):
        faces = results if isinstance(results, Results) else _found(workdir / RESULTS, read_results, remarks)
        return FaceRun(workdir, config, record, rows, faces, tuple(remarks))
    if isinstance(results, ClassificationResults):
        return ClassificationRun(workdir, config, record, rows, results, tuple(remarks))
    kept = _found(workdir / RESULTS, read_classification, remarks)
    return ClassificationRun(workdir, config, record, rows, kept, tuple(remarks))


def _found(path: Path, read: Callable[[Path], Found], remarks: list[str]) -> Found | None:
    """The content of a file; None if it is missing or damaged."""
    if not path.exists():
        return None
    try:
        return read(path)
    except InputError as error:
        remarks.append(f"{error}; skipped")
        return None
