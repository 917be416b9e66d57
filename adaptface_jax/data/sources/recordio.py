"""MXNet RecordIO with an index: keys, frames and image headers. Knows nothing of identities.

Format: little-endian frames of u32 magic, u32 `part << 29 | length`, payload, zero padding to 4 bytes; a payload that
contained the magic is written in parts (1 first, 2 middle, 3 last; 0 is whole) with the magic left out between them.
An image payload is `<IfQQ` (flag, label, id, id2), then `flag` float32 labels, then the encoded image.
"""

from __future__ import annotations

import os
import struct
import weakref
from pathlib import Path

import numpy as np

from adaptface_jax.core.errors import InputError

MAGIC = 0xCED7230A
_FRAME = struct.Struct("<II")
_HEADER = struct.Struct("<IfQQ")
_LENGTH_MASK = (1 << 29) - 1
_REBUILD = "the file is damaged or not of this index: copy or pack it again"


class RecordFile:
    """Random access to the records of one `.rec` by the keys of its `.idx`.

    Reads with `pread`: one object serves any number of threads, and pickles (worker processes open the file anew).

    keys: int64 [N], sorted.
    """

    def __init__(self, path: Path, index_path: Path):
        self.path = path
        self.keys, self._offsets = _read_index(index_path)
        self._open()

    def _open(self) -> None:
        try:
            self._file = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror}); it belongs beside its .idx") from None
        weakref.finalize(self, os.close, self._file)
        self._size = os.fstat(self._file).st_size

    def __getstate__(self) -> dict:
        return {"path": self.path, "keys": self.keys, "_offsets": self._offsets}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._open()

    def name(self, key: int) -> str:
        """How errors name a record."""
        return f"{self.path}: record {key}"

    def read(self, key: int) -> bytes:
        """The payload of one record, its parts rejoined. Raises InputError for a frame that is not one."""
        place = int(np.searchsorted(self.keys, key))
        if place == len(self.keys) or self.keys[place] != key:
            raise InputError(f"{self.name(key)}: the key is not in the index; {_REBUILD}")
        offset, parts = int(self._offsets[place]), list[bytes]()
        while True:
            magic, word = _FRAME.unpack(self._bytes(key, offset, _FRAME.size))
            part, length = word >> 29, word & _LENGTH_MASK
            if magic != MAGIC or part not in ((2, 3) if parts else (0, 1)):
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

    def _bytes(self, key: int, offset: int, size: int) -> bytes:
        # Checked before reading: a lying length must not allocate.
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
        if path.stat().st_size == 0:
            raise InputError(f"{path}: is empty; {expected}")
        table = np.loadtxt(path, dtype=np.int64, delimiter="\t", comments=None, ndmin=2)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); it belongs beside its .rec") from None
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}; {expected}") from None
    if table.shape[1] != 2 or (table < 0).any():
        raise InputError(f"{path}: a line is not two counts; {expected}")
    table = table[np.argsort(table[:, 0], kind="stable")]
    if (np.diff(table[:, 0]) == 0).any():
        raise InputError(f"{path}: a key appears twice; {expected}")
    if len(np.unique(table[:, 1])) != len(table):
        raise InputError(f"{path}: two keys stand for one record; {expected} and each offset once")
    return table[:, 0].copy(), table[:, 1].copy()
