# SPDX-License-Identifier: Apache-2.0
"""Records that could not be read: each counted once, logged, and limited in number."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

from adaptface_jax.core import run_names
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural, shown

FILE = run_names.BAD_RECORDS


@dataclasses.dataclass(frozen=True)
class BadRecord:
    """key: names the record in its source. reason: one line."""

    key: str
    reason: str


class BadRecords:
    """The log of one run: one line `{"key": ..., "reason": ...}` per bad record, however often it is read.

    An existing log is continued, so a resumed run, which reads some records again, counts like one that never stopped.

    folder: where the file is created at the first bad record; None counts without a file.
    limit: how many records may be bad.
    process: which of several processes this is; each has its own share of the records, and its own file.
    """

    def __init__(self, folder: Path | None, limit: int, process: int = 0):
        name = FILE if process == 0 else f"bad_records.{process}.jsonl"
        self._path, self._limit = folder and folder / name, limit
        self._keys: set[str] = set() if self._path is None else _earlier(self._path)

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, record: BadRecord) -> None:
        """Add a bad record. Raises InputError if it exceeds the limit (after logging it)."""
        if record.key not in self._keys:
            self._keys.add(record.key)
            if self._path is not None:
                # One write per line, on disk before the step is trained: a killed run loses none.
                with open(self._path, "ab", buffering=0) as file:
                    file.write(json.dumps(dataclasses.asdict(record)).encode() + b"\n")
                    os.fsync(file.fileno())
        if len(self._keys) > self._limit:
            log = f"; {shown(str(self._path))} lists them" if self._path is not None else ""
            raise InputError(
                f"data.max_bad_records: {plural(len(self._keys), 'bad record')}; at most {self._limit} may be skipped; "
                f"the last one: {record.reason}{log}"
            )


def skipped_lines(folder: Path) -> list[str]:
    """How many records the run in a folder skipped, over all processes, in one line; nothing if it skipped none."""
    logs = sorted(folder.glob(FILE.replace(".", "*.")))
    count = len(set().union(*(_earlier(log) for log in logs)))
    where = ", ".join(log.name for log in logs)
    return [f"skipped   {plural(count, 'record')} that cannot be read, see {where}"] if count else []


def _earlier(path: Path) -> set[str]:
    """The keys in an existing log, after truncating a half-written last line: that record will be read again."""
    if not path.exists():
        return set()
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
    try:
        return {json.loads(line)["key"] for line in content[:whole].splitlines()}
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{shown(str(path))}: a line is not a bad record; restore or remove the file") from None
