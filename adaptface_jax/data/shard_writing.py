"""Shards written one after the other by one process, records encoded ahead and shards checked behind it by others."""

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

# One record a group: any record is read alone. Images are compressed already.
_OPTIONS = "group_size:1,uncompressed"

Task = tuple[Any, ...]  # a function of the source, and its other arguments


class Shards:
    """The shards of one packing, written one after the other; records are encoded ahead of the one that is written, and
    those that are written are checked behind it.

    finished: what is known of the shards that are done. kept: how many of them an earlier run made.
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
        """enough: of the number of a shard, whether it ends here (`_enough`)."""
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
        """Remove what was written and is not known to be whole."""
        for path, _ in self._checked:
            _part(path).unlink(missing_ok=True)

    def _settle(self, plan: Mapping[str, Any], but: int) -> None:
        """Give the shards that were checked their names, in order, all but the last so many."""
        while len(self._checked) > but:
            path, future = self._checked[0]
            shard = future.result()
            os.replace(_part(path), path)
            self._checked.popleft()
            self.finished.append(shard)
            later = [self._known[file] for file in sorted(self._known) if file > path.name]
            write_text(self._folder / UNFINISHED, to_json({**plan, "shards": self.finished + later}, indent=1) + "\n")

    def _encoded(self, start: int) -> Iterator[bytes]:
        """The records from this one on."""
        size, under_way = (CHUNK, AHEAD * self._processes) if self._processes > 1 else (1, 0)
        count = len(self._source)
        tasks = ((encoded_records, begin, min(begin + size, count)) for begin in range(start, count, size))
        for part in ahead(map(self._submit, tasks), under_way):
            yield from part

    def _write_shard(self, path: Path, start: int, enough: Callable[[int, int], bool], records: Iterator[bytes]) -> int:
        """Write a shard under another name and have it checked; the number of the record after it."""
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
        except (BrokenPipeError, BrokenProcessPool):  # of what is shown, and of those who encode
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
    """Records as they stand in a shard. Raises InputError for one that is not what the source said of it."""
    result = []
    for index in range(start, stop):
        record = source[index]
        data = encode_record(record, encoded(record.image))
        if (record.key, record.label) != (source.key(index), int(source.labels[index])):
            raise InputError(f"{source.description}: record {index} changed while it was packed; run pack again")
        result.append(data)
    return result


def encoded(image: bytes | Any) -> bytes:
    """The image as it is, or a decoded one as PNG."""
    if isinstance(image, bytes):
        return image
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def checked_shard(source: Source, path: Path, records: int, digest: str) -> dict[str, Any]:
    """What is to be known of a shard, which still has its first name; raises InputError if it is not as written."""
    part = _part(path)
    if _content(part) != (records, digest):
        raise InputError(f"{shown(str(path))}: reads back differently from what was written; check the disk")
    return {"file": path.name, "records": records, **_seal(part)}


def _content(path: Path) -> tuple[int, str]:
    """The number of records in a shard and the digest of all of them, each parsed."""
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
    """A shard's name until it is known to be whole."""
    return path.with_name(f".{path.name}.part")


def worker(source: Source) -> Callable[[Task], Any]:
    """What a process of a packing does."""
    return functools.partial(_do, source)


def _do(source: Source, task: Task) -> Any:
    function, *arguments = task
    return function(source, *arguments)
