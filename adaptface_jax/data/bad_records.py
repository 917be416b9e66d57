"""Records that could not be read: counted once each, logged, limited."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural, shown

FILE = "bad_records.jsonl"


@dataclasses.dataclass(frozen=True)
class BadRecord:
    """key: names the record in its source. reason: one line."""

    key: str
    reason: str


class BadRecords:
    """The log of one run: a line `{"key": ..., "reason": ...}` for every bad record, once, however often it is met.

    An existing log is gone on with. So a resumed run, which meets some records again, counts as one that never stopped.

    folder: where the file is made with the first bad record; None counts without a file.
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
        """Take a bad record. Raises InputError if it is one more than the limit (it is logged all the same)."""
        if record.key not in self._keys:
            self._keys.add(record.key)
            if self._path is not None:
                # One write a line, on disk before the step is trained: a killed run loses none.
                with open(self._path, "ab", buffering=0) as file:
                    file.write(json.dumps(dataclasses.asdict(record)).encode() + b"\n")
                    os.fsync(file.fileno())
        if len(self._keys) > self._limit:
            log = f"; {shown(str(self._path))} lists them" if self._path is not None else ""
            raise InputError(
                f"data.max_bad_records: {len(self._keys)} bad records, at most {self._limit} are skipped; "
                f"the last is {record.reason}{log}"
            )


def skipped_lines(folder: Path) -> list[str]:
    """How many records the run in a folder skipped, over all processes, in one line; nothing if it skipped none."""
    logs = sorted(folder.glob(FILE.replace(".", "*.")))
    count = len(set().union(*(_earlier(log) for log in logs)))
    where = ", ".join(log.name for log in logs)
    return [f"skipped   {plural(count, 'record')} that cannot be read, see {where}"] if count else []


def _earlier(path: Path) -> set[str]:
    """The keys in an existing log, from which a half-written last line is cut off: that record will be met again."""
    if not path.exists():
        return set()
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
    try:
        return {json.loads(line)["key"] for line in content[:whole].splitlines()}
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{shown(str(path))}: a line is no bad record; restore or remove the file") from None
