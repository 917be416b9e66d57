# SPDX-License-Identifier: Apache-2.0
"""Tables with a file name and small integers per line, parsed as one array: CelebA's lists have 202,599 lines.

000001.jpg -1  1  1 -1      columns separated by spaces, or by commas or semicolons, perhaps quoted, in a .csv
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NoReturn

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural, shortened, shown
from adaptface_jax.data.text_array import TextArray

_NEWLINE, _SPACE, _MINUS, _ZERO, _NINE = b"\n -09"


@dataclasses.dataclass(frozen=True)
class NameTable:
    """names: N distinct strings. values: int8 [N, A]."""

    names: TextArray
    values: np.ndarray


@dataclasses.dataclass(frozen=True)
class TableFile:
    """The content of such a file, with lines numbered from 1. expected: what it should be, for messages."""

    path: Path
    content: bytes
    expected: str

    @classmethod
    def read(cls, path: Path, expected: str) -> TableFile:
        """Raises InputError if it cannot be read, or is not text."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{shown(str(path))}: cannot be read ({error.strerror}); expected {expected}") from None
        if b"\0" in content:
            raise InputError(f"{shown(str(path))}: is not text; expected {expected}")
        content = content.removeprefix(b"\xef\xbb\xbf").translate(bytes.maketrans(b"\r\t", b"  "))
        if path.suffix == ".csv":
            content = content.translate(bytes.maketrans(b',;"', b"   "))
        return cls(path, content.rstrip() + b"\n", expected)

    def head(self, lines: int) -> list[list[str]]:
        """The words of the first lines."""
        found = self.content.split(b"\n", lines)[:lines]
        return [line.decode("utf-8", "backslashreplace").split() for line in found]

    def refuse(self, problem: str, line: int | None = None) -> NoReturn:
        """Raise InputError about the file or one of its lines."""
        place = f": line {line}" if line else ""
        raise InputError(f"{shown(str(self.path))}{place}: {shortened(problem, 160)}; expected {self.expected}")

    def rows(self, skip: int, columns: int, allowed: tuple[int, ...]) -> NameTable:
        """The lines after the first `skip`: a name and `columns` numbers, each -9 to 9 and one of `allowed`.

        Raises InputError naming the first line that is anything else, and the first duplicate name.
        """
        start = 0
        for _ in range(skip):
            start = self.content.find(b"\n", start) + 1
        if (skip and not start) or start == len(self.content):
            self.refuse("has no rows")
        text = np.frombuffer(self.content, np.uint8)[start:]
        ends = np.flatnonzero(text == _NEWLINE)
        # Words alternately begin and end where a word byte meets a separator; the text always ends with a newline.
        inside = np.concatenate(([False], (text != _SPACE) & (text != _NEWLINE)))
        edges = np.flatnonzero(inside[1:] != inside[:-1])
        first, last = edges[::2], edges[1::2] - 1
        words = np.diff(np.searchsorted(first, ends), prepend=0)
        if (ragged := np.flatnonzero(words != columns + 1)).size:
            row = int(ragged[0])
            found = plural(max(int(words[row]) - 1, 0), "value")
            self.refuse(f"a name with {found}, the other lines have {columns}", skip + row + 1)
        first, last = first.reshape(-1, columns + 1), last.reshape(-1, columns + 1)
        digit = text[last[:, 1:]]
        negative = text[first[:, 1:]] == _MINUS
        values = digit.astype(np.int8) - np.int8(_ZERO)
        np.negative(values, out=values, where=negative)
        good = (last - first)[:, 1:] == negative
        good &= (digit >= _ZERO) & (digit <= _NINE) & np.isin(values, allowed)
        if not good.all():
            row, column = (int(place[0]) for place in np.nonzero(~good))
            word = bytes(text[first[row, column + 1] : last[row, column + 1] + 1])
            self.refuse(f"value {column + 1} is {shown(word.decode('utf-8', 'backslashreplace'))!r}", skip + row + 1)
        return NameTable(self._names(text, first[:, 0], last[:, 0], skip), values)

    def _names(self, text: np.ndarray, first: np.ndarray, last: np.ndarray, skip: int) -> TextArray:
        """The first word of each line; the byte after it becomes the terminating NUL."""
        edges = np.zeros(len(text) + 1, np.int8)
        edges[first] = 1
        edges[last + 2] = -1
        kept = np.cumsum(edges[:-1], dtype=np.int8).astype(bool)
        text = text.copy()
        text[last + 1] = 0
        names = TextArray(text[kept].tobytes())
        seen: set[bytes] = set()
        for row, name in enumerate(names.content.split(b"\0")[:-1]):
            if name in seen:
                self.refuse(f"{shown(names[row])} is listed twice", skip + row + 1)
            seen.add(name)
        return names
