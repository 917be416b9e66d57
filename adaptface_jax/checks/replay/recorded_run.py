"""What a run's folder records about its training, read for verification: run record, metrics and evidence."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from adaptface_jax.checks.run.history import Rows
from adaptface_jax.config.overrides import AnyConfig
from adaptface_jax.core.errors import InputError
from adaptface_jax.training.evidence import Broken, Line, read_evidence
from adaptface_jax.training.monitor import read_metrics
from adaptface_jax.training.run import recorded_config, required_record


class Session(NamedTuple):
    """step: after which it started. record: the content of run.json then. environment: `evidence.surroundings`.

    leaves: names of the arrays of the state.
    """

    step: int
    record: Mapping[str, Any]
    environment: Mapping[str, str]
    leaves: list[str]


@dataclasses.dataclass(frozen=True)
class RecordedRun:
    """record: run.json as it is now. rows: of metrics.jsonl; remarks: which of them could not be read.

    lines: the readable evidence; broken: those of its lines that were altered or damaged.
    """

    workdir: Path
    record: dict[str, Any]
    config: AnyConfig
    rows: Rows
    remarks: tuple[str, ...]
    lines: list[Line]
    broken: list[Broken]

    @functools.cached_property
    def sessions(self) -> list[Session]:
        """In order; empty for a run without evidence."""
        return [Session(line["step"], **line["sitting"]) for line in self.lines if "sitting" in line]

    @functools.cached_property
    def states(self) -> dict[int, list[int]]:
        """Step -> fingerprints of the state after it, as the run recorded them."""
        return {line["step"]: line["state"] for line in reversed(self.lines) if "state" in line}

    @functools.cached_property
    def seen(self) -> dict[int, str]:
        """Step -> digest of the records that trained the steps since the previous line."""
        return {line["step"]: line["records"] for line in self.lines if "records" in line}

    @functools.cached_property
    def logged(self) -> dict[int, Mapping[str, Any]]:
        """Step -> its row of training metrics."""
        return {row["step"]: row for row in self.rows if "train/loss" in row}

    @property
    def trained(self) -> int:
        """The last step that anything is known of."""
        return max((*self.states, *self.logged), default=0)

    @property
    def first_record(self) -> Mapping[str, Any]:
        """The run's record: that of its last session, or without evidence that of run.json."""
        return self.sessions[-1].record if self.sessions else self.record

    def session_of(self, step: int) -> Session | None:
        """The one that trained the steps after `step`."""
        return next((session for session in reversed(self.sessions) if session.step <= step), None)

    @property
    def ended(self) -> bool:
        """Whether its last session produced results."""
        return bool(self.lines) and "files" in self.lines[-1]

    @property
    def files(self) -> dict[str, str]:
        """Name -> sha256 of the run's output files, as last written."""
        return {name: digest for line in self.lines for name, digest in line.get("files", {}).items()}


def read_recorded_run(workdir: Path) -> RecordedRun:
    """Raises InputError if there is no run, its run.json is damaged, or nothing was trained."""
    record = required_record(workdir, "")
    config = recorded_config(workdir, record)
    remarks: list[str] = []
    rows = read_metrics(workdir, remarks.append)
    lines, broken = read_evidence(workdir)
    found = RecordedRun(workdir, record, config, rows, tuple(remarks), lines, broken)
    try:
        trained = found.trained and [session.record["config"] for session in found.sessions]
    except (TypeError, KeyError):
        raise InputError(f"{workdir}: its evidence has an unknown form; restore the file") from None
    if not trained and not found.trained:
        raise InputError(f"{workdir}: no step was trained, so there is nothing to replay")
    return found
