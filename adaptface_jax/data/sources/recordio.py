# SPDX-License-Identifier: Apache-2.0
"""MXNet RecordIO with an index: keys, frames and image headers. Knows nothing of identities.

Format: little-endian frames of u32 magic, u32 `part << 29 | length`, payload, zero padding to 4 bytes; a payload that
contained the magic is written in parts (1 first, 2 middle, 3 last; 0 is undivided), without the magic between them.
An image payload is `<IfQQ` (flag, label, id, id2), then `flag` float32 labels, then the encoded image.
"""

from __future__ import annotations

import os
import struct
import weakref
from array import array
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.mistaken import HEAD, mistaken_for

MAGIC = 0xCED7230A
_FRAME = struct.Struct("<II")
_HEADER = struct.Struct("<IfQQ")
_LENGTH_MASK = (1 << 29) - 1
# The first bytes of an undivided record: its frame, the image header, and up to two separate labels.
_HEAD = np.dtype(
    [("magic", "<u4"), ("word", "<u4"), ("flag", "<u4"), ("label", "<f4"), ("ids", "<u8", 2), ("own", "<f4", 2)]
)
# Headers closer together than _NEAR are cheaper to read along with the bytes between them, _BLOCK bytes at a time.
_NEAR, _BLOCK = 1 << 14, 1 << 22
_REBUILD = "the file is corrupted or does not match this index: copy or pack it again"


class Contents(NamedTuple):
    """Of N records. counts: int64 [N], how many labels each has. labels: float32 [N, 2], the first two of them, NaN if
    there is only one. images: bool [N], whether an image follows."""

    counts: np.ndarray
    labels: np.ndarray
    images: np.ndarray


class RecordFile:
    """Random access to the records of one `.rec` by the keys of its `.idx`; without one, by the keys that the records
    hold, or, if they do not differ, by their places in the file.

    Reads with `pread`: thread-safe, and picklable (worker processes reopen the file).

    keys: int64 [N], sorted. indexed: whether there is an index.
    """

    def __init__(self, path: Path, index_path: Path):
        self.path = path
        self.indexed = index_path.exists() or not path.exists()
        if self.indexed:
            self.keys, self._offsets = _read_index(index_path)
        self._open()
        if not self.indexed:
            self.keys, self._offsets = self._found()

    def _open(self) -> None:
        try:
            self._file = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror}); expected it next to its .idx") from None
        weakref.finalize(self, os.close, self._file)
        self._size = os.fstat(self._file).st_size

    def __getstate__(self) -> dict:
        return {"path": self.path, "keys": self.keys, "_offsets": self._offsets, "indexed": self.indexed}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._open()

    def _found(self) -> tuple[np.ndarray, np.ndarray]:
        """The keys, sorted, and the byte offset of each, from frame to frame."""
        offsets, ids, offset = array("q"), array("Q"), 0
        while offset < self._size:
            head = os.pread(self._file, _HEAD.itemsize, offset).ljust(_HEAD.itemsize, b"\0")
            magic, word = _FRAME.unpack_from(head)
            length = word & _LENGTH_MASK
            if magic != MAGIC or offset + _FRAME.size + length > self._size:
                kind = mistaken_for(os.pread(self._file, HEAD, 0)) or f"has no whole frame at byte {offset}; {_REBUILD}"
                raise InputError(f"{self.path}: {kind}")
            if word >> 29 in (0, 1):
                offsets.append(offset)
                ids.append(_HEADER.unpack_from(head, _FRAME.size)[2] if length >= _HEADER.size else 0)
            offset += _FRAME.size + (length + 3) // 4 * 4
        if not offsets:
            raise InputError(f"{self.path}: is empty; copy or download it again")
        keys = np.array(ids, np.uint64).astype(np.int64)
        if (keys < 0).any() or len(np.unique(keys)) < len(keys):
            keys = np.arange(len(offsets))
        order = np.argsort(keys, kind="stable")
        return keys[order], np.array(offsets, np.int64)[order]

    def name(self, key: int) -> str:
        """The name of a record in errors."""
        return f"{self.path}: record {key}"

    def read(self, key: int) -> bytes:
        """The payload of one record, its parts rejoined. Raises InputError for an invalid frame."""
        place = int(np.searchsorted(self.keys, key))
        if place == len(self.keys) or self.keys[place] != key:
            raise InputError(f"{self.name(key)}: the key is not in the index; {_REBUILD}")
        offset, parts = int(self._offsets[place]), list[bytes]()
        while True:
            magic, word = _FRAME.unpack(self._bytes(key, offset, _FRAME.size))
            part, length = word >> 29, word & _LENGTH_MASK
            if magic != MAGIC or part not in ((2, 3) if parts else (0, 1)):
                if kind := mistaken_for(os.pread(self._file, HEAD, 0)):
                    raise InputError(f"{self.path}: {kind}")
                raise InputError(f"{self.name(key)}: no frame of the expected kind at byte {offset}; {_REBUILD}")
            parts.append(self._bytes(key, offset + _FRAME.size, length))
            if part in (0, 3):
                return struct.pack("<I", MAGIC).join(parts)
            offset += _FRAME.size + (length + 3) // 4 * 4

    def read_image(self, key: int) -> tuple[tuple[float, ...], bytes]:
        """The labels (at least one) and the encoded image (empty for a record that only carries labels)."""
        payload = self.read(key)
        if len(payload) < _HEADER.size:
            raise InputError(f"{self.name(key)}: {len(payload)} bytes are too few for an image header; {_REBUILD}")
        flag, label, _, _ = _HEADER.unpack_from(payload)
        start = _HEADER.size + 4 * flag
        if len(payload) < start:
            raise InputError(f"{self.name(key)}: claims {flag} labels in {len(payload)} bytes; {_REBUILD}")
        labels = struct.unpack_from(f"<{flag}f", payload, _HEADER.size) if flag else (label,)
        return labels, payload[start:]

    def contents(self, keys: np.ndarray) -> Contents:
        """The contents of the records with these keys [N] of the index; raises InputError as `read_image` does."""
        offsets = self._offsets[np.searchsorted(self.keys, keys)]
        counts, labels = np.empty(len(keys), np.int64), np.full((len(keys), 2), np.nan, np.float32)
        images = np.empty(len(keys), bool)
        start = 0
        while start < len(keys):
            # Offsets usually ascend with the keys; where they do not, a block ends.
            end = min(len(keys), start + _BLOCK // _HEAD.itemsize)
            block = offsets[start:end]
            beyond = (block - block[0] > _BLOCK) | (np.diff(block, prepend=block[0]) < 0)
            end = start + (int(beyond.argmax()) if beyond.any() else len(block))
            heads = self._heads(offsets[start:end])
            flags, lengths = heads["flag"].astype(np.int64), (heads["word"] & _LENGTH_MASK).astype(np.int64)
            needed = _HEADER.size + 4 * flags
            whole = (heads["magic"] == MAGIC) & (heads["word"] >> 29 == 0) & (lengths >= needed)
            whole &= offsets[start:end] + _FRAME.size + lengths <= self._size
            counts[start:end] = np.maximum(flags, 1)
            images[start:end] = lengths > needed
            labels[start:end, 0] = np.where(flags > 0, heads["own"][:, 0], heads["label"])
            labels[start:end, 1] = np.where(flags > 1, heads["own"][:, 1], np.nan)
            for place in (start + np.flatnonzero(~whole)).tolist():  # in parts, or corrupted
                found, image = self.read_image(int(keys[place]))
                counts[place], images[place], labels[place] = len(found), bool(image), (*found[:2], np.nan)[:2]
            start = end
        return Contents(counts, labels, images)

    def _heads(self, offsets: np.ndarray) -> np.ndarray:
        """_HEAD [n] of the records at ascending offsets, zeros past the end of the file."""
        size, span = _HEAD.itemsize, int(offsets[-1] - offsets[0])
        try:
            if span > _NEAR * len(offsets):
                parts = [os.pread(self._file, size, offset) for offset in offsets.tolist()]
                return np.frombuffer(b"".join(part.ljust(size, b"\0") for part in parts), _HEAD)
            data = os.pread(self._file, span + size, int(offsets[0])).ljust(span + size, b"\0")
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror})") from None
        windows = np.lib.stride_tricks.sliding_window_view(np.frombuffer(data, np.uint8), size)
        return np.ascontiguousarray(windows[offsets - offsets[0]]).view(_HEAD)[:, 0]

    def _bytes(self, key: int, offset: int, size: int) -> bytes:
        # Checked before reading: a bogus length must not allocate.
        if offset + size <= self._size:
            try:
                data = os.pread(self._file, size, offset)
            except OSError as error:
                raise InputError(f"{self.name(key)}: cannot be read ({error.strerror})") from None
            if len(data) == size:
                return data
        raise InputError(
            f"{self.name(key)}: needs bytes {offset} to {offset + size} of a file of {self._size}; {_REBUILD}"
        )


def _read_index(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """int64 keys, sorted, and the int64 byte offset of each."""
    expected = "expected lines of `key <tab> byte offset`, each key once"
    try:
        with path.open("rb") as file:
            kind = mistaken_for(file.read(HEAD))
        if kind is not None:
            raise InputError(f"{path}: {kind}; {expected}")
        table = np.loadtxt(path, dtype=np.int64, comments=None, ndmin=2)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected it next to its .rec") from None
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}; {expected}") from None
    if table.shape[1] != 2 or (table < 0).any():
        raise InputError(f"{path}: a line is not two non-negative integers; {expected}")
    keys, offsets = table[:, 0].copy(), table[:, 1].copy()
    del table
    if not (keys[1:] > keys[:-1]).all():
        order = np.argsort(keys, kind="stable")
        keys, offsets = keys[order], offsets[order]
    if (keys[1:] == keys[:-1]).any():
        raise InputError(f"{path}: a key appears twice; {expected}")
    if not (offsets[1:] > offsets[:-1]).all() and len(np.unique(offsets)) != len(offsets):
        raise InputError(f"{path}: two keys have the same offset; {expected} and each offset once")
    return keys, offsets
