"""Weight files as a lazy mapping of names to arrays; shapes and dtypes are known before anything is read.

Format: https://huggingface.co/docs/safetensors (8 bytes of header length, a JSON header, the tensors).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import safetensors

from adaptface_jax.errors import InputError

FLOATS = {"F32": np.dtype(np.float32), "F16": np.dtype(np.float16), "BF16": np.dtype(ml_dtypes.bfloat16)}
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


class _Entry(NamedTuple):
    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int


@dataclasses.dataclass(frozen=True)
class Tensors(Mapping[str, np.ndarray]):
    """Tensors of one or more files. Indexing reads that tensor alone, in the file's dtype.

    Raises InputError for a dtype other than F32, F16 and BF16 (only when it is read: integers may be dropped).
    """

    entries: Mapping[str, _Entry]
    files: tuple[Path, ...]

    def __getitem__(self, name: str) -> np.ndarray:
        entry = self.entries[name]
        if entry.dtype not in FLOATS:
            raise InputError(f"{entry.file}: {name!r} is {entry.dtype}; expected one of {', '.join(FLOATS)}")
        count = int(np.prod(entry.shape, dtype=np.int64))
        data = np.fromfile(entry.file, FLOATS[entry.dtype], count, offset=entry.start)
        if data.size != count:
            raise InputError(f"{entry.file}: ends inside {name!r}; download the file again")
        return data.reshape(entry.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: entry.shape for name, entry in self.entries.items()}

    @property
    def dtypes(self) -> dict[str, str]:
        return {name: entry.dtype for name, entry in self.entries.items()}

    def sha256(self) -> str:
        """Hex digest of the file; of the shards' bytes one after the other in name order, where there are several."""
        digest = hashlib.sha256()
        for file in self.files:
            with open(file, "rb") as stream:
                while chunk := stream.read(1 << 22):
                    digest.update(chunk)
        return digest.hexdigest()


def open_weights(path: Path) -> Tensors:
    """A `.safetensors` file, or a folder with `model.safetensors` or the shards of `model.safetensors.index.json`.

    Raises InputError for anything else, and for files that are truncated or contradict themselves.
    """
    if path.is_dir():
        if (path / SINGLE).is_file():
            return open_weights(path / SINGLE)
        if (path / INDEX).is_file():
            return _open_shards(path / INDEX)
        raise InputError(f"{path}: holds neither {SINGLE} nor {INDEX}{_pickles_in(path)}")
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: not a .safetensors file; other formats are not read here")
    return Tensors(_entries(path), (path,))


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object of a file; raises InputError where it holds something else."""
    try:
        value = json.loads(path.read_bytes(), object_pairs_hook=_no_duplicates)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON ({_first_line(error)})") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds a JSON {type(value).__name__}; expected an object")
    return value


def _entries(path: Path) -> dict[str, _Entry]:
    # The library checks lengths, offsets, overlaps and sizes. It accepts duplicate keys, so the header is read again.
    try:
        with safetensors.safe_open(path, framework="numpy"):
            pass
        with open(path, "rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length), object_pairs_hook=_no_duplicates)
    except (OSError, ValueError, RecursionError, safetensors.SafetensorError) as error:
        raise InputError(f"{path}: not a sound safetensors file ({_first_line(error)})") from None
    header.pop("__metadata__", None)
    return {
        name: _Entry(path, info["dtype"], tuple(info["shape"]), 8 + length + info["data_offsets"][0])
        for name, info in header.items()
    }


def _open_shards(index: Path) -> Tensors:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise InputError(f"{index}: has no weight_map of tensor names to file names")
    entries: dict[str, _Entry] = {}
    files = sorted(set(weight_map.values()))
    for file in files:
        if Path(file).name != file or not (index.parent / file).is_file():
            raise InputError(f"{index}: names {file!r}, which is no file of this folder; download every shard")
        for name, entry in _entries(index.parent / file).items():
            if weight_map.get(name) != file:
                raise InputError(f"{index}: {file} holds {name!r}, which the index does not place there")
            entries[name] = entry
    if absent := sorted(set(weight_map) - set(entries)):
        raise InputError(f"{index}: places {absent[0]!r} in {weight_map[absent[0]]}, which does not hold it")
    return Tensors(entries, tuple(index.parent / file for file in files))


def _pickles_in(folder: Path) -> str:
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pth", ".pt"))
    return f" (only {pickles[0]}, a pickle, which is never opened; get {SINGLE} instead)" if pickles else ""


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key!r} occurs twice")
        result[key] = value
    return result


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
