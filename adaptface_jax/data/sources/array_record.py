# SPDX-License-Identifier: Apache-2.0
"""A folder of ArrayRecord shards, as `adaptface pack` writes it. Nothing in it is a pickle.

    shard-00000.array_record ...   the records, in order; record i never changes its place
    index.npz                      labels int32 [N]; keys and classes: uint8, strings in order, NUL-terminated
    labels.csv                     the other labels of the packed dataset (data/labels.py), if it had any
    dataset.json                   format, version, source, records, classes, index_sha256, table_sha256 (of labels.csv,
                                   if it was packed), and for every shard: file, records, bytes, sha256; written last,
                                   so its presence marks a complete pack

A record, little-endian: 4 bytes `AFJR`, u16 version (1), u16 length K of the key, i32 label, i32 -1 (older packs have a
domain there, which is not read), K bytes of key (UTF-8), then the encoded image exactly as in the source.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource

from adaptface_jax.core.arrays import read_arrays
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import one_line, plural, shown
from adaptface_jax.data.image_files import skipped_beside
from adaptface_jax.data.labels import LABELS
from adaptface_jax.data.record import Record, Source
from adaptface_jax.data.skipped_files import BESIDE_RECORDS
from adaptface_jax.data.text_array import TextArray

DESCRIPTION = "dataset.json"
INDEX = "index.npz"
UNFINISHED = "unfinished.json"
SHARDS = "shard-*.array_record"
FORMAT = "adaptface_jax shards"
VERSION = 1

_MAGIC = b"AFJR"
_HEADER = struct.Struct("<4sHHii")
_NO_DOMAIN = -1
_REPACK = "the pack is corrupted or incomplete: copy it again, or run pack again"


def encode_record(record: Record, image: bytes) -> bytes:
    """The binary form of one record; `image` is the record's image, encoded."""
    key = TextArray.of([record.key]).content[:-1]
    return _HEADER.pack(_MAGIC, VERSION, len(key), record.label, _NO_DOMAIN) + key + image


def decode_record(data: bytes) -> Record:
    """The record from its binary form. Raises ValueError for anything else."""
    if len(data) < _HEADER.size:
        raise ValueError(f"{len(data)} bytes are too few for a record")
    magic, version, length, label, _ = _HEADER.unpack_from(data)
    if magic != _MAGIC or version != VERSION:
        raise ValueError(f"it starts with {data[:6]!r}, not with {_MAGIC!r} version {VERSION}")
    start = _HEADER.size + length
    if len(data) < start:
        raise ValueError(f"its key claims {length} bytes")
    return Record(data[start:], label, TextArray(data[_HEADER.size : start] + b"\0")[0])


class ArrayRecordSource(Source):
    """The records of one pack, in the order and with the keys, classes and bytes of the packed source.

    Thread-safe, picklable. Opening checks the description, the index and the shards' sizes and counts; every record is
    checked against the index when read, and ArrayRecord has its own checksums.
    Raises InputError for files that are missing, corrupted or contradict each other.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        description = read_description(folder)
        labels, self._keys, classes = read_index(folder, description)
        super().__init__(
            labels, classes, f"ArrayRecord shards in {shown(str(folder))}, packed from {description['source']}"
        )
        _check_table(folder, description)
        self._starts = np.cumsum([0] + [shard["records"] for shard in description["shards"]])
        self._files = [shard["file"] for shard in description["shards"]]
        known = set(self._files)
        for shard in description["shards"]:
            path = folder / shard["file"]
            size = path.stat().st_size if path.is_file() else None
            if size != shard["bytes"]:
                found = "is missing" if size is None else f"has {size} bytes, {DESCRIPTION} says {shard['bytes']}"
                raise InputError(f"{shown(str(path))}: {found}; {_REPACK}")
        extra = sorted(path.name for path in folder.glob(SHARDS) if path.name not in known)
        if extra:
            raise InputError(f"{shown(str(folder))}: {extra[0]} is not in {DESCRIPTION}; {_REPACK}")
        self._open()
        self.skipped_files = skipped_beside(folder, known | {DESCRIPTION, INDEX, LABELS}, BESIDE_RECORDS)

    def _open(self) -> None:
        try:
            self._data = ArrayRecordDataSource([str(self._folder / file) for file in self._files])
        except Exception as error:  # the C++ library may raise anything for a corrupted file
            raise InputError(f"{shown(str(self._folder))}: {one_line(error)}; {_REPACK}") from None
        if len(self._data) != len(self.labels):
            raise InputError(
                f"{shown(str(self._folder))}: the shards hold {plural(len(self._data), 'record')}, {DESCRIPTION} says "
                f"{len(self.labels)}; {_REPACK}"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_data"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def __getitem__(self, index: int) -> Record:
        index = range(len(self))[index]
        try:
            record = decode_record(self._data[index])
        except Exception as error:  # as above
            raise InputError(f"{self._place(index)}: {one_line(error)}; {_REPACK}") from None
        if record.key != self.key(index) or record.label != self.labels[index]:
            raise InputError(
                f"{self._place(index)}: is {shown(record.key)!r} of class {record.label}, the index says "
                f"{shown(self.key(index))!r} of class {self.labels[index]}; {_REPACK}"
            )
        return record

    def key(self, index: int) -> str:
        return self._keys[index]

    def key_blocks(self) -> Iterator[bytes]:
        yield self._keys.content

    def _place(self, index: int) -> str:
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        return f"{shown(str(self._folder / self._files[shard]))}: record {index - self._starts[shard]}"


def read_description(folder: Path) -> dict[str, Any]:
    """The validated content of dataset.json; raises InputError if it is not one of this version."""
    path = folder / DESCRIPTION
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"{shown(str(folder))}: shards without {DESCRIPTION}; expected a complete pack: run the same `pack` again"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{shown(str(path))}: cannot be read ({one_line(error)}); {_REPACK}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT or found.get("version") != VERSION:
        raise InputError(f"{shown(str(path))}: expected format {FORMAT!r}, version {VERSION}; {_REPACK}")
    kinds = {"source": str, "records": int, "classes": int, "index_sha256": str, "shards": list}
    wrong = [name for name, kind in kinds.items() if type(found.get(name)) is not kind]
    shard_kinds = {"file": str, "records": int, "bytes": int, "sha256": str}
    for shard in [] if wrong else found["shards"]:
        if (
            not isinstance(shard, dict)
            or any(type(shard.get(n)) is not kind for n, kind in shard_kinds.items())
            or Path(shard["file"]).name != shard["file"]
            or not Path(shard["file"]).match(SHARDS)
            or shard["records"] < 1
        ):
            wrong = ["shards"]
    if wrong:
        raise InputError(f"{shown(str(path))}: {wrong[0]} is missing or of the wrong type; {_REPACK}")
    counted = sum(shard["records"] for shard in found["shards"])
    if counted != found["records"] or not counted:
        raise InputError(
            f"{shown(str(path))}: {plural(found['records'], 'record')}, {counted} in its shards; {_REPACK}"
        )
    return found


def _check_table(folder: Path, description: dict[str, Any]) -> None:
    """Raise InputError if the packed labels do not match the description."""
    expected, path = description.get("table_sha256"), folder / LABELS
    if expected is None:
        return
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{shown(str(path))}: cannot be read ({error.strerror}); {_REPACK}") from None
    if found != expected:
        raise InputError(
            f"{shown(str(path))}: its sha256 is not the one in {DESCRIPTION}; {_REPACK}; to use other labels, set "
            "data.labels"
        )


def encode_index(labels: np.ndarray, keys: TextArray, classes: TextArray) -> bytes:
    """The bytes of index.npz, identical for identical content."""
    file = io.BytesIO()
    texts = {name: np.frombuffer(value.content, np.uint8) for name, value in (("keys", keys), ("classes", classes))}
    np.savez(file, allow_pickle=False, labels=labels.astype("<i4"), **texts)
    return file.getvalue()


def read_index(folder: Path, description: dict[str, Any]) -> tuple[np.ndarray, TextArray, TextArray]:
    """labels int32 [N], keys and class names; raises InputError if they do not match the description."""
    path = folder / INDEX
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != description["index_sha256"]:
            raise ValueError(f"its sha256 is not the one in {DESCRIPTION}")
        arrays = read_arrays(io.BytesIO(data))
        labels = arrays["labels"]
        keys, classes = TextArray(arrays["keys"].tobytes()), TextArray(arrays["classes"].tobytes())
        if labels.dtype != np.int32 or labels.ndim != 1:
            raise ValueError("the labels are not a vector of int32")
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{shown(str(path))}: cannot be read ({one_line(error)}); {_REPACK}") from None
    count, number = description["records"], description["classes"]
    if len(labels) != count or len(keys) != count or len(classes) != number:
        raise InputError(
            f"{shown(str(path))}: {plural(len(labels), 'label')}, {plural(len(keys), 'key')} and "
            f"{plural(len(classes), 'class')}, {DESCRIPTION} says {plural(count, 'record')} of "
            f"{plural(number, 'class')}; {_REPACK}"
        )
    if labels.min() < 0 or labels.max() >= number:
        raise InputError(f"{shown(str(path))}: labels {labels.min()} to {labels.max()} of {number} classes; {_REPACK}")
    return labels, keys, classes
