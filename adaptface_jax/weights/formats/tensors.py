# SPDX-License-Identifier: Apache-2.0
"""Tensors in files as a lazy mapping: names, shapes and dtypes are known before anything is read."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import ml_dtypes
import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import quoted

Container = Literal["safetensors", "torch", "torchscript"]

FLOATS = {
    "F32": np.dtype(np.float32), "F16": np.dtype(np.float16), "BF16": np.dtype(ml_dtypes.bfloat16),
    "F64": np.dtype(np.float64),
}  # fmt: skip
_QUANTIZED = ("F8", "F4", "I8", "U8", "I4")

MAX_TENSORS = 100_000
MAX_NAME = 300


class Entry(NamedTuple):
    """Where one tensor is stored.

    dtype: in safetensors' notation ("F32", "BF16", "I64", ...). start: its first byte in the file, followed by
    little-endian elements. strides: in elements, None for C order; always a permutation of a compact layout.
    """

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    strides: tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Tensors(Mapping[str, np.ndarray]):
    """Tensors of one or more files. Indexing reads only that tensor, in the file's dtype.

    Raises InputError if there are none, for unprintable names and for impossible sizes; when a tensor is read, for a
    dtype other than F32, F16, BF16 and F64 (not before: integers may be dropped).
    """

    entries: Mapping[str, Entry]
    files: tuple[Path, ...]
    container: Container = "safetensors"

    def __post_init__(self) -> None:
        if not self.entries:
            raise InputError(f"{self.files[0]}: holds no tensor; expected the weights of a model")
        if len(self.entries) > MAX_TENSORS:
            raise InputError(f"{self.files[0]}: holds {len(self.entries):,} tensors; at most {MAX_TENSORS:,} are read")
        for name, entry in self.entries.items():
            if not name.isprintable() or len(name) > MAX_NAME:
                raise InputError(
                    f"{entry.file}: a tensor is named {quoted(name)}; "
                    f"expected at most {MAX_NAME} printable characters; rename it and save again"
                )
            # An empty tensor may claim any size next to its zero, and NumPy counts bytes in 64 bits.
            if len(entry.shape) > 32 or math.prod(size for size in entry.shape if size) >= 1 << 56:
                raise InputError(f"{entry.file}: {quoted(name)} has an impossible shape; download the file again")

    def __getitem__(self, name: str) -> np.ndarray:
        entry = self.entries[name]
        if entry.dtype not in FLOATS:
            advice = "; quantized weights are not read: use the original ones" * entry.dtype.startswith(_QUANTIZED)
            raise InputError(
                f"{entry.file}: {quoted(name)} is {entry.dtype}; expected one of {', '.join(FLOATS)}{advice}"
            )
        count = math.prod(entry.shape)
        try:
            flat = np.fromfile(entry.file, FLOATS[entry.dtype], count, offset=entry.start)
        except OSError as error:
            raise InputError(f"{entry.file}: cannot be read ({error.strerror})") from None
        if flat.size != count:
            raise InputError(f"{entry.file}: ends in the middle of {quoted(name)}; download the file again")
        return flat.reshape(entry.shape) if entry.strides is None else _permuted(flat, entry.shape, entry.strides)

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
        """Hex digest of the file, or of the concatenated shards in name order."""
        digest = hashlib.sha256()
        for file in self.files:
            with open(file, "rb") as stream:
                while chunk := stream.read(1 << 22):
                    digest.update(chunk)
        return digest.hexdigest()


def order_of(shape: tuple[int, ...], strides: tuple[int, ...]) -> list[int]:
    """The axes from the slowest to the fastest in memory."""
    return sorted(range(len(shape)), key=lambda axis: (-strides[axis], -shape[axis], axis))


def is_compact(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether the elements fill prod(shape) positions without gaps or repeats, in any order of the axes."""
    places = 1
    for axis in reversed(order_of(shape, strides)):
        if shape[axis] != 1 and strides[axis] != places:
            return False
        places *= shape[axis]
    return True


def _permuted(flat: np.ndarray, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    order = order_of(shape, strides)
    stored = flat.reshape([shape[axis] for axis in order])
    return stored.transpose(np.argsort(order))
