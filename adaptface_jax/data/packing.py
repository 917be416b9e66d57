# SPDX-License-Identifier: Apache-2.0
"""Writing a source as ArrayRecord shards (data/sources/array_record.py describes their content), resumably.

A shard is written under a temporary name, read back record by record, and only then renamed. `unfinished.json` lists
the finished shards; a second run keeps each one whose sha256 still matches and rewrites the others. Where a shard ends
depends only on the source and the limit, so the files are identical however often the work was interrupted.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import locked, write_bytes, write_text
from adaptface_jax.core.json_io import to_json
from adaptface_jax.core.text import plural, quoted, shown
from adaptface_jax.core.workers import team
from adaptface_jax.data.labels import LABELS, encode_labels
from adaptface_jax.data.record import Keys, Source, labels_digest, texts_digest
from adaptface_jax.data.shard_writing import Shards, worker
from adaptface_jax.data.sources.array_record import (
    DESCRIPTION,
    FORMAT,
    INDEX,
    SHARDS,
    UNFINISHED,
    VERSION,
    ArrayRecordSource,
    encode_index,
)
from adaptface_jax.data.text_array import TextArray

WORTH_STARTING = 4000  # records for which starting a process is worthwhile (its imports take a second)


@dataclasses.dataclass(frozen=True)
class Limit:
    """Where shards end: `shards` with equal counts, or after the record that brings one to `megabytes` (2^20 bytes)."""

    shards: int | None = None
    megabytes: int | None = None


@dataclasses.dataclass(frozen=True)
class Packed:
    """The result of packing: shards in total, how many of them were kept from before, and their size."""

    shards: int
    kept: int
    bytes: int


def pack(
    source: Source, folder: Path, limit: Limit, show: Callable[[int], None] = lambda done: None, processes: int = 1
) -> Packed:
    """Write `source` into `folder`, or finish what an earlier call began there.

    show: called with the number of records that are done. processes: at most this many read, encode and check; one
    writes, so that the files do not depend on their number.
    Raises InputError if the folder holds anything else, if a record cannot be read, or if a shard reads back
    differently from what was written; RunError if a process dies.
    """
    if limit.shards is not None and not 1 <= limit.shards <= len(source):
        raise InputError(f"--shards: {limit.shards} of {plural(len(source), 'image')}; expected 1 to {len(source)}")
    plan = {
        "format": FORMAT,
        "version": VERSION,
        "source": source.description,
        "records": len(source),
        "classes": source.num_classes,
        "labels_sha256": labels_digest(source),
        "keys_sha256": source.keys_sha256,
        "class_names_sha256": texts_digest(source.class_names),
        "limit": dataclasses.asdict(limit),
    }
    table = b"" if source.table is None else encode_labels(source.table, Keys(source))
    if table:
        plan["table_sha256"] = hashlib.sha256(table).hexdigest()
    with locked(folder, f"{shown(str(folder))}: another pack is writing to it; wait for it, or choose another folder"):
        _clear(folder)
        known = _earlier(folder, plan)
        # Before any shard: a killed run must be recognizable, whatever else is in the folder.
        write_text(folder / UNFINISHED, to_json(plan | {"shards": list(known.values())}, indent=1) + "\n")
        processes = min(processes, max(len(source) // WORTH_STARTING, 1))
        with team(worker(source), functools.partial(worker, source), processes) as submit:
            work = Shards(source, folder, known, submit, processes, show)
            try:
                work.write(lambda number: _enough(limit, len(source), number), plan)
            finally:
                work.clear()
        finished, kept = work.finished, work.kept
        _finish(source, folder, plan, finished, table)
        ArrayRecordSource(folder)
    return Packed(len(finished), kept, sum(shard["bytes"] for shard in finished))


def _clear(folder: Path) -> None:
    """Refuse a folder that holds other files; delete what a killed run left half-written."""
    begun = any((folder / name).exists() for name in (DESCRIPTION, UNFINISHED))
    ours = (DESCRIPTION, INDEX, UNFINISHED, *([LABELS] if begun else []))
    for path in sorted(folder.iterdir()):
        if path.name.startswith(tuple(f".{name}" for name in ("shard-", INDEX, DESCRIPTION, UNFINISHED, LABELS))):
            path.unlink()
        elif path.name not in ours and not path.match(SHARDS):
            raise InputError(
                f"{shown(str(folder))}: holds {shown(path.name)!r}, which no pack wrote; choose an empty folder"
            )


def _earlier(folder: Path, plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The shards that an earlier run finished, by file; raises InputError if that run packed something else."""
    for name in (UNFINISHED, DESCRIPTION):
        path = folder / name
        if not path.exists():
            continue
        try:
            found = json.loads(path.read_bytes())
            compared = dict.fromkeys([*plan, "table_sha256"])  # a pack without labels has none
            different = [key for key in compared if key != "source" and found.get(key) != plan.get(key)]
            shards = {shard["file"]: shard for shard in found["shards"]}
            if not all(shard["records"] > 0 and {"bytes", "sha256"} <= shard.keys() for shard in shards.values()):
                raise ValueError("no shards")
        except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
            raise InputError(f"{shown(str(path))}: cannot be read; empty the folder and pack again") from None
        if different:
            raise InputError(
                f"{shown(str(folder))}: holds another pack ({different[0]} was {quoted(found.get(different[0]))}, "
                f"now {quoted(plan.get(different[0]))}); choose an empty folder"
            )
        return shards
    if any(folder.glob(SHARDS)):
        raise InputError(f"{shown(str(folder))}: shards of an unknown pack; choose an empty folder")
    return {}


def _enough(limit: Limit, records: int, number: int) -> Callable[[int, int], bool]:
    """enough(end, size): whether shard `number`, at `size` bytes, ends before record `end`."""
    if limit.shards is not None:
        last = (number + 1) * records // limit.shards
        return lambda end, size: end >= last
    megabytes = limit.megabytes or 1
    return lambda end, size: size >= megabytes << 20


def _finish(source: Source, folder: Path, plan: dict[str, Any], shards: list[dict[str, Any]], table: bytes) -> None:
    """Writes the label table, the index and, last, the description; deletes shards of an earlier, longer list."""
    names = {shard["file"] for shard in shards}
    for path in folder.glob(SHARDS):
        if path.name not in names:
            path.unlink()
    keys = TextArray.of(source.key(index) for index in range(len(source)))
    index = encode_index(source.labels, keys, TextArray.of(source.class_names))
    if table:
        write_bytes(folder / LABELS, table)
    write_bytes(folder / INDEX, index)
    description = plan | {"index_sha256": hashlib.sha256(index).hexdigest(), "shards": shards}
    write_text(folder / DESCRIPTION, to_json(description, indent=1) + "\n")
    (folder / UNFINISHED).unlink(missing_ok=True)
