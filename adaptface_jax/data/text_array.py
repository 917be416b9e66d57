"""Many short strings in two arrays: millions of keys cost their bytes, not a Python object each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np


class TextArray(Sequence[str]):
    """Strings stored back to back; decoded to `str` on access.

    File names may contain anything but NUL, even bytes that are not UTF-8 (os.fsencode keeps them).

    content: the strings, each NUL-terminated.
    """

    def __init__(self, content: bytes):
        self.content = content
        self._ends = np.flatnonzero(np.frombuffer(content, np.uint8) == 0)

    @classmethod
    def of(cls, texts: Iterable[str]) -> TextArray:
        """Raises ValueError for a string that contains NUL."""
        content = bytearray()
        for text in texts:
            encoded = os.fsencode(text)
            if b"\0" in encoded:
                raise ValueError(f"{text!r} holds a NUL")
            content += encoded + b"\0"
        return cls(bytes(content))

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        index = range(len(self))[index]
        start = int(self._ends[index - 1]) + 1 if index else 0
        return os.fsdecode(self.content[start : int(self._ends[index])])

    def between(self, start: int, end: int) -> bytes:
        """The strings from `start` up to `end` (exclusive), each NUL-terminated."""
        first, last = (int(self._ends[place - 1]) + 1 if place else 0 for place in (start, end))
        return self.content[first:last]

    def __iter__(self) -> Iterator[str]:
        start = 0
        while (end := self.content.find(b"\0", start)) >= 0:
            yield os.fsdecode(self.content[start:end])
            start = end + 1
