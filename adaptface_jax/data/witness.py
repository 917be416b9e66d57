# SPDX-License-Identifier: Apache-2.0
"""What a training run saw of each record: short digests of its image and its label, recorded as it is read."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from adaptface_jax.core import run_names
from adaptface_jax.core.errors import InputError
from adaptface_jax.data.record import Record, Source

RECORDS = run_names.RECORDS  # in a run's folder

# The digests of one record; all zero if it was never read.
ROW = np.dtype([("image", "<u8"), ("label", "<u8")])


def image_digest(record: Record) -> int:
    """A digest of the key and the image of a record, encoded or not; never 0."""
    image = record.image
    digest = hashlib.blake2b(os.fsencode(record.key) + b"\0", digest_size=8)
    digest.update(image if isinstance(image, bytes) else np.ascontiguousarray(image).data)
    return int.from_bytes(digest.digest(), "little") or 1


def label_digest(source: Source, number: int) -> int:
    """A digest of the class or the attributes of a record, and of its domains if they are known."""
    digest = hashlib.blake2b(source.labels[number].astype("<i4").tobytes(), digest_size=8)
    if source.domains is not None:
        digest.update(source.domains[number].tobytes())
    return int.from_bytes(digest.digest(), "little")


class Seen:
    """A digest of the records read since it was last taken, in order, with their content."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=16)

    def __call__(self, numbers: np.ndarray, rows: np.ndarray) -> None:
        """Add the records of a step. numbers: int64 [B]. rows: ROW [B]."""
        self._digest.update(numbers.astype("<i8").tobytes())
        self._digest.update(rows.tobytes())

    def take(self) -> str:
        """The digest in hex; then starts over."""
        found = self._digest.hexdigest()
        self._digest = hashlib.blake2b(digest_size=16)
        return found


class SeenRecords:
    """The ROW of every record in a file, written as the records are read.

    changed: the numbers of the records whose content was another one when they were read before.
    Raises InputError if the file is for another number of records.
    """

    def __init__(self, path: Path, count: int) -> None:
        self.changed: set[int] = set()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        size = os.fstat(self._file).st_size
        if size not in (0, count * ROW.itemsize):
            os.close(self._file)
            raise InputError(
                f"{path}: has {size:,} bytes, expected {count * ROW.itemsize:,} for {count:,} records; restore the "
                "file, or remove it (the training so far can then be verified only in part)"
            )
        os.ftruncate(self._file, count * ROW.itemsize)

    def __call__(self, numbers: np.ndarray, rows: np.ndarray) -> None:
        """Add the records of a step; the row of one that could not be read stays as it was."""
        for number, row in zip(numbers.tolist(), rows, strict=True):
            if row["image"]:
                now, before = row.tobytes(), os.pread(self._file, ROW.itemsize, number * ROW.itemsize)
                if now == before:
                    continue
                if any(before):
                    self.changed.add(number)
                # Not through a memory map: there a full disk would kill the process without a message.
                os.pwrite(self._file, now, number * ROW.itemsize)

    def close(self) -> None:
        """May be called once."""
        os.close(self._file)


def read_rows(path: Path) -> np.ndarray | None:
    """ROW [N] of the records of a run, None if it kept none; raises InputError for a partial row."""
    try:
        return np.fromfile(path, ROW) if path.stat().st_size % ROW.itemsize == 0 else _cut(path)
    except FileNotFoundError:
        return None


def _cut(path: Path) -> np.ndarray:
    raise InputError(f"{path}: ends in the middle of a {ROW.itemsize}-byte row; restore the file")
