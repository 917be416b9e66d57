"""Safetensors: one file, or the shards that an index file names.

Format: https://huggingface.co/docs/safetensors (8 bytes of header length, a JSON header, the tensors).
"""

from __future__ import annotations

from pathlib import Path

import safetensors

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.json_io import MAX_BYTES, parse_object, read_json
from adaptface_jax.core.text import one_line, quoted
from adaptface_jax.weights.formats.tensors import Entry, Tensors


def open_file(path: Path) -> Tensors:
    """Raises InputError for a file that is truncated or contradicts itself."""
    return Tensors(_entries(path), (path,), "safetensors")


def open_shards(index: Path) -> Tensors:
    """Raises InputError where the shards do not hold exactly what the index places in them."""
    weight_map = read_json(index).get("weight_map")
    if (
        not weight_map
        or not isinstance(weight_map, dict)
        or not all(isinstance(file, str) for file in weight_map.values())
    ):
        raise InputError(f"{index}: has no weight_map of tensor names to file names")
    entries: dict[str, Entry] = {}
    files = sorted(set(weight_map.values()))
    for file in files:
        if not _is_file_of(index.parent, file):
            raise InputError(f"{index}: names {quoted(file)}, which is no file of this folder; download every shard")
        for name, entry in _entries(index.parent / file).items():
            if weight_map.get(name) != file:
                raise InputError(f"{index}: {file} holds {quoted(name)}, which the index does not place there")
            entries[name] = entry
    if absent := sorted(set(weight_map) - set(entries)):
        raise InputError(f"{index}: places {quoted(absent[0])} in {weight_map[absent[0]]}, which does not hold it")
    return Tensors(entries, tuple(index.parent / file for file in files), "safetensors")


def _is_file_of(folder: Path, name: str) -> bool:
    if not name.isprintable() or len(name) > 200 or Path(name).name != name:
        return False
    return (folder / name).is_file()


def _entries(path: Path) -> dict[str, Entry]:
    # The library checks lengths, offsets, overlaps and sizes. It accepts duplicate keys, so the header is read again.
    try:
        with open(path, "rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > MAX_BYTES:
                raise ValueError(f"its header claims {length:,} bytes; at most {MAX_BYTES >> 20} MiB are read")
            header = stream.read(length)
        with safetensors.safe_open(path, framework="numpy"):
            pass
        infos = parse_object(header)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise InputError(
            f"{path}: not a sound safetensors file ({one_line(error, 160)}); download it again, all of it"
        ) from None
    infos.pop("__metadata__", None)
    return {
        name: Entry(path, info["dtype"], tuple(info["shape"]), 8 + length + info["data_offsets"][0])
        for name, info in infos.items()
    }
