"""Shards written sequentially by one process, while others encode the next records and check the previous shards."""

from __future__ import annotations

import collections
import functools
import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from PIL import Image

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import to_json
from adaptface_jax.core.text import shown
from adaptface_jax.core.workers import AHEAD, CHUNK, ahead
from adaptface_jax.data.record import Source
from adaptface_jax.data.sources.array_record import (
    DESCRIPTION,
    SHARDS,
    UNFINISHED,
    decode_record,
    encode_record,
)

# One record per group, so that any record can be read by itself. Images are already compressed.
_OPTIONS = "group_size:1,uncompressed"

Task = tuple[Any, ...]  # a function of the source, and its other arguments


class Shards:
    """The shards of one pack, written sequentially, while the next records are encoded and the previous shards checked.

    finished: the entries of the finished shards. kept: how many of them an earlier run wrote.
    """

    def __init__(
        self,
        source: Source,
        folder: Path,
        known: Mapping[str, dict[str, Any]],
        submit: Callable[[Task], Future[Any]],
        processes: int,
        show: Callable[[int], None],
    ) -> None:
        self._source, self._folder, self._known, self._show = source, folder, known, show
        self._submit, self._processes = submit, processes
        self._checked: collections.deque[tuple[Path, Future[dict[str, Any]]]] = collections.deque()
        self.finished: list[dict[str, Any]] = []
        self.kept = 0

    def write(self, enough: Callable[[int], Callable[[int, int], bool]], plan: Mapping[str, Any]) -> None:
        """enough: from the number of a shard to the test whether it ends here (`packing._enough`)."""
        start = number = 0
        records = self._encoded(start)
        while start < len(self._source):
            name = SHARDS.replace("*", f"{number:05d}")
            shard = self._known.get(name)
            if shard is not None and _is_whole(self._folder / name, shard):
                self._settle(plan, 0)
                self.finished.append(shard)
                self.kept += 1
                start += shard["records"]
                self._show(start)
                records = self._encoded(start)
            else:
                (self._folder / DESCRIPTION).unlink(missing_ok=True)
                start = self._write_shard(self._folder / name, start, enough(number), records)
                self._settle(plan, self._processes - 1)
            number += 1
        self._settle(plan, 0)

    def clear(self) -> None:
        """Remove shards that were written but not yet verified."""
        for path, _ in self._checked:
            _part(path).unlink(missing_ok=True)

    def _settle(self, plan: Mapping[str, Any], but: int) -> None:
        """Rename the checked shards to their final names, in order, all but the last `but`."""
        while len(self._checked) > but:
            path, future = self._checked[0]
            shard = future.result()
            os.replace(_part(path), path)
            self._checked.popleft()
            self.finished.append(shard)
            later = [self._known[file] for file in sorted(self._known) if file > path.name]
            write_text(self._folder / UNFINISHED, to_json({**plan, "shards": self.finished + later}, indent=1) + "\n")

    def _encoded(self, start: int) -> Iterator[bytes]:
        """The encoded records from this one on."""
        size, under_way = (CHUNK, AHEAD * self._processes) if self._processes > 1 else (1, 0)
        count = len(self._source)
        tasks = ((encoded_records, begin, min(begin + size, count)) for begin in range(start, count, size))
        for part in ahead(map(self._submit, tasks), under_way):
            yield from part

    def _write_shard(self, path: Path, start: int, enough: Callable[[int, int], bool], records: Iterator[bytes]) -> int:
        """Write a shard under a temporary name and submit it for checking; returns the number of the next record."""
        part = _part(path)
        written, size, end = hashlib.sha256(), 0, start
        try:
            writer = ArrayRecordWriter(str(part), _OPTIONS)
            try:
                while end < len(self._source) and not enough(end, size):
                    data = next(records)
                    writer.write(data)
                    written.update(hashlib.sha256(data).digest())
                    size, end = size + len(data), end + 1
                    self._show(end)
            finally:
                writer.close()
            with part.open("rb") as file:
                os.fsync(file.fileno())
            self._checked.append((path, self._submit((checked_shard, path, end - start, written.hexdigest()))))
        except (BrokenPipeError, BrokenProcessPool):  # of the progress output, and of the encoding processes
            part.unlink(missing_ok=True)
            raise
        except (OSError, RuntimeError) as error:  # RuntimeError: ArrayRecord's own
            part.unlink(missing_ok=True)
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{shown(str(path))}: cannot be written ({reason}); run the same pack again") from None
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return end


def encoded_records(source: Source, start: int, stop: int) -> list[bytes]:
    """Records as stored in a shard. Raises InputError for one that contradicts what the source says about it."""
    result = []
    for index in range(start, stop):
        record = source[index]
        data = encode_record(record, encoded(record.image))
        if (record.key, record.label) != (source.key(index), int(source.labels[index])):
            raise InputError(f"{source.description}: record {index} changed while it was packed; run pack again")
        result.append(data)
    return result


def encoded(image: bytes | Any) -> bytes:
    """The image unchanged, or a decoded one as PNG."""
    if isinstance(image, bytes):
        return image
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def checked_shard(source: Source, path: Path, records: int, digest: str) -> dict[str, Any]:
    """The entry of a shard that still has its temporary name; raises InputError if it does not read back as written."""
    part = _part(path)
    if _content(part) != (records, digest):
        raise InputError(f"{shown(str(path))}: reads back differently from what was written; check the disk")
    return {"file": path.name, "records": records, **_seal(part)}


def _content(path: Path) -> tuple[int, str]:
    """The number of records in a shard, each of which is parsed, and the digest of all of them."""
    reader, digest = ArrayRecordReader(str(path)), hashlib.sha256()
    try:
        count = reader.num_records()
        for index in range(count):
            data = reader.read([index])[0]
            decode_record(data)
            digest.update(hashlib.sha256(data).digest())
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{shown(str(path))}: cannot be read back ({str(error)[:200]}); check the disk") from None
    finally:
        reader.close()
    return count, digest.hexdigest()


def _seal(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _is_whole(path: Path, shard: dict[str, Any]) -> bool:
    return path.is_file() and _seal(path) == {"bytes": shard["bytes"], "sha256": shard["sha256"]}


def _part(path: Path) -> Path:
    """A shard's name until it is verified."""
    return path.with_name(f".{path.name}.part")


def worker(source: Source) -> Callable[[Task], Any]:
    """The function that a packing process runs."""
    return functools.partial(_do, source)


def _do(source: Source, task: Task) -> Any:
    function, *arguments = task
    return function(source, *arguments)
