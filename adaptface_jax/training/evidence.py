# SPDX-License-Identifier: Apache-2.0
"""What a run records so that it can be verified later (`adaptface replay`): `evidence.jsonl`, one line per logged or
saved step, and `evidence.records`, the content of every record when it was read.

    {"step": 0, "sitting": {...}, "kept": [0, "..."], "state": [...], ...}    the start of every session
    {"step": 10, "state": [...], "records": "...", "rows": ["..."], ...}       a step
    {"step": 90, "files": {"results.json": "..."}, ...}                        the outputs of the run

state: a fingerprint of each array of the training state after the step. records: which records trained the steps since
the previous line, and their content. rows: a digest of each line of `metrics.jsonl` since then; kept: number and
digest of those that a session found. sitting: a session's settings and data (run.json), versions and devices. time:
when the line was written, in seconds since 1970 UTC. Every line ends with `chain`, a digest of the line and of the
previous `chain`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import jax
import numpy as np

from adaptface_jax.core import run_names
from adaptface_jax.core.environment import environment
from adaptface_jax.core.errors import InputError, RunError, Stopped
from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import parse_object, to_json
from adaptface_jax.core.processors import cores
from adaptface_jax.core.text import one_line, plural, shown
from adaptface_jax.data.bad_records import FILE as BAD_RECORDS
from adaptface_jax.data.witness import RECORDS, Seen, SeenRecords
from adaptface_jax.training.fingerprint import leaf_names, make_fingerprint
from adaptface_jax.training.monitor import read_metrics
from adaptface_jax.training.plan import Plan
from adaptface_jax.training.run import MARKDOWN, RESULTS
from adaptface_jax.training.step import TrainState

EVIDENCE = run_names.EVIDENCE  # in the folder of a run
MADE = (RESULTS, MARKDOWN, run_names.BASELINES, "scores/**/*.npz", RECORDS, BAD_RECORDS)

Line = dict[str, Any]


class Evidence:
    """Writes the evidence of one session, a context manager; every process of a run makes the same calls, and the
    primary one has a `workdir`.

    A line is written one note behind, so that the host never waits for the current step.
    """

    def __init__(self, workdir: Path | None, plan: Plan, start: int) -> None:
        self._workdir, self._plan, self._start = workdir, plan, start
        self._fingerprint = make_fingerprint(plan.mesh)
        self._pending: tuple[Line, jax.Array | None] | None = None
        self._seen, self._rows = Seen(), list[str]()
        self._noted, self._chain = -1, ""
        self._file: SeenRecords | None = None
        if workdir is not None:
            lines = [line for line in read_lines(workdir) if line["step"] <= start] if start else []
            self._chain = lines[-1]["chain"] if lines else ""
            write_text(workdir / EVIDENCE, "".join(to_json(line) + "\n" for line in lines))
            if not start:
                (workdir / RECORDS).unlink(missing_ok=True)
            self._file = SeenRecords(workdir / RECORDS, len(plan.source))

    def begin(self, state: TrainState) -> None:
        """The state that the session starts with; existing lines of `metrics.jsonl` are taken as they are."""
        self._rows = []
        sitting: Line = {}
        if self._workdir is not None:
            kept = rows_digests(read_metrics(self._workdir))
            facts = {"record": self._plan.record, "environment": surroundings(), "leaves": leaf_names(state)}
            sitting = {"sitting": facts, "kept": [len(kept), combined_digest(kept)]}
        self._note({"step": self._start, **sitting}, state)
        self.flush()
        self._noted = -1

    def saw(self, numbers: np.ndarray, rows: np.ndarray) -> None:
        """Takes the records of a batch (`data.pipeline.Witness`)."""
        self._seen(numbers, rows)
        if self._file is not None:
            self._file(numbers, rows)

    def changed(self) -> str:
        """A sentence on the images that had another content when the run read them before, each said once; or ""."""
        if self._file is None or not self._file.changed:
            return ""
        numbers, self._file.changed = sorted(self._file.changed), set()
        first = shown(self._plan.source.key(numbers[0]))
        return f"{plural(len(numbers), 'training image')} changed since this run read them before: {first}" + (
            " and others" if len(numbers) > 1 else ""
        )

    def row(self, text: str) -> None:
        """Takes a line of `metrics.jsonl`."""
        self._rows.append(_digest(text))

    def note(self, step: int, state: TrainState) -> None:
        """Record the state after a step, once per step however often this is called."""
        if step != self._noted:
            self._note({"step": step, "records": self._seen.take()}, state)
            self._noted = step

    def flush(self) -> None:
        """Write the line that is still pending."""
        if self._pending is None:
            return
        (line, state), self._pending = self._pending, None
        if self._workdir is not None:
            if state is not None:
                line["state"] = jax.device_get(state).tolist()
            line["rows"], self._rows = self._rows, []
            self._chain = _append(self._workdir, line, self._chain)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is pending, and the digests of the rows that are in no line yet."""
        if kind is None or issubclass(kind, Stopped | RunError):
            self.flush()
            if self._rows:
                self._pending = {"step": max(self._noted, self._start)}, None
                self.flush()
        if self._file is not None:
            self._file.close()

    def _note(self, line: Line, state: TrainState) -> None:
        self.flush()
        self._pending = line, self._fingerprint(state)
        self._pending[1].copy_to_host_async()


def seal(workdir: Path, names: Sequence[str] = MADE) -> None:
    """Record the digests of the output files of the run, if it has evidence."""
    lines = read_lines(workdir)
    if lines:
        files = {name: file_digest(workdir / name) for name in made_files(workdir, names)}
        _append(workdir, {"step": lines[-1]["step"], "files": files}, lines[-1]["chain"])


def made_files(workdir: Path, names: Sequence[str] = MADE) -> list[str]:
    """Relative names of the files that match `names` (patterns)."""
    return sorted(file.relative_to(workdir).as_posix() for name in names for file in workdir.glob(name))


def file_digest(path: Path) -> str:
    """sha256 in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def surroundings() -> dict[str, str]:
    """The environment of a session: on a CPU, equal environments compute the same bits."""
    return {**environment(), "cores": str(cores()), "platform": jax.default_backend()}


class Broken(NamedTuple):
    """A line of the evidence that was altered or damaged, and why."""

    number: int
    reason: str


def read_lines(workdir: Path) -> list[Line]:
    """The lines in order, without a last one that a kill truncated; empty if there are none.

    Raises InputError for one that was altered or damaged.
    """
    lines, broken = read_evidence(workdir)
    if broken:
        raise InputError(
            f"{workdir / EVIDENCE}: line {broken[0].number} {broken[0].reason}; restore the file, or remove it (the "
            "training so far can then not be verified)"
        )
    return lines


def read_evidence(workdir: Path) -> tuple[list[Line], list[Broken]]:
    """The lines that can be read, and those that were altered or damaged."""
    path = workdir / EVIDENCE
    lines, broken, chain = list[Line](), list[Broken](), ""
    try:
        texts = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return [], []
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({one_line(error)})") from None
    for number, text in enumerate(texts, 1):
        try:
            line = parse_object(text)
            if not _is_line(line):
                raise ValueError("not a line of evidence")
        except (ValueError, RecursionError) as error:
            broken.append(Broken(number, f"is damaged ({one_line(error, 80)})"))
            continue
        if line["chain"] != linked(chain, line):
            broken.append(Broken(number, "was changed, or an earlier one removed"))
        chain = line["chain"]
        lines.append(line)
    return lines, broken


def rows_digests(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """A digest of each row of `metrics.jsonl`."""
    return [_digest(to_json(row)) for row in rows]


def combined_digest(digests: Sequence[str]) -> str:
    """One digest of many rows."""
    return _digest("".join(digests))


def _append(workdir: Path, line: Line, chain: str) -> str:
    """Append a line after the one that ends with `chain`; returns the chain of the new one."""
    line["time"] = round(time.time(), 3)
    line["chain"] = linked(chain, line)
    with open(workdir / EVIDENCE, "a", encoding="utf-8") as file:
        file.write(to_json(line) + "\n")
    return str(line["chain"])


def linked(chain: str, line: Line) -> str:
    """The `chain` of a line that follows one with `chain`."""
    return _digest(chain + to_json({name: value for name, value in line.items() if name != "chain"}))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


_KINDS: dict[str, type | tuple[type, ...]] = {
    "step": int, "chain": str, "state": list, "rows": list, "records": str, "kept": list, "sitting": dict,
    "files": dict, "time": (int, float),
}  # fmt: skip


def _is_line(line: Line) -> bool:
    kinds = all(isinstance(value, _KINDS.get(name, object)) for name, value in line.items())
    return kinds and {"step", "chain"} <= line.keys()
