"""Shards that an index file names: safetensors or torch archives, read like single files.

Format: transformers' `save_pretrained`, `model.safetensors.index.json` and `pytorch_model.bin.index.json`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.json_io import read_json
from adaptface_jax.core.text import quoted
from adaptface_jax.weights.formats.tensors import Entry, Tensors


def open_shards(index: Path, open_file: Callable[[Path], Tensors]) -> Tensors:
    """The tensors of all shards, each opened by `open_file`; raises InputError unless they match the index exactly."""
    weight_map = read_json(index).get("weight_map")
    if (
        not weight_map
        or not isinstance(weight_map, dict)
        or not all(isinstance(file, str) for file in weight_map.values())
    ):
        raise InputError(f"{index}: has no weight_map of tensor names to file names")
    entries: dict[str, Entry] = {}
    files = sorted(set(weight_map.values()))
    shards = []
    for file in files:
        if not _is_file_of(index.parent, file):
            raise InputError(f"{index}: names {quoted(file)}, which is not in this folder; download every shard")
        shards.append(open_file(index.parent / file))
        for name, entry in shards[-1].entries.items():
            if weight_map.get(name) != file:
                raise InputError(f"{index}: {file} holds {quoted(name)}, which the index does not assign to it")
            entries[name] = entry
    if absent := sorted(set(weight_map) - set(entries)):
        raise InputError(f"{index}: assigns {quoted(absent[0])} to {weight_map[absent[0]]}, which does not hold it")
    return Tensors(entries, tuple(index.parent / file for file in files), shards[0].container)


def _is_file_of(folder: Path, name: str) -> bool:
    if not name.isprintable() or len(name) > 200 or Path(name).name != name:
        return False
    return (folder / name).is_file()
