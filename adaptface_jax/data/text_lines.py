# SPDX-License-Identifier: Apache-2.0
"""Lists in text files, line by line, with errors that name the line."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.mistaken import HEAD, mistaken_for
from adaptface_jax.core.text import shortened, shown


@dataclasses.dataclass(frozen=True)
class Line:
    """A non-blank line of a list. number: from 1. text: without surrounding whitespace; indented: with the leading
    whitespace."""

    file: Path
    number: int
    text: str
    indented: str

    def refuse(self, problem: str, expected: str) -> NoReturn:
        """Raise InputError about this line."""
        found, said = shown(self.text if len(self.text) <= 60 else self.text[:57] + "..."), shortened(problem, 160)
        raise InputError(f"{shown(str(self.file))}: line {self.number}, {found!r}: {said}; expected {expected}")


def lines(file: Path, what: str) -> Iterator[Line]:
    """The lines of a text file: UTF-8, with or without a byte order mark, or UTF-16 with one. Raises InputError if it
    is not one, and for a line with a NUL, which no path contains."""
    try:
        with file.open("rb") as opened:
            head = opened.read(HEAD)
        if head and (mistaken := mistaken_for(head)) is not None:
            raise InputError(f"{shown(str(file))}: {mistaken}; expected {what}")
        with file.open(encoding=encoding_of(file), newline=None) as opened:
            for number, text in enumerate(opened, 1):
                line = Line(file, number, text.strip(), text.rstrip())
                if "\0" in text:
                    line.refuse("contains a NUL", "text")
                if line.text:
                    yield line
    except OSError as error:
        raise InputError(f"{shown(str(file))}: cannot be read ({error.strerror}); expected {what}") from None
    except UnicodeError:
        raise InputError(f"{shown(str(file))}: is not UTF-8 text; expected {what}, saved as UTF-8") from None


def encoding_of(file: Path) -> str:
    """The encoding of a text file by its first bytes; raises OSError. Windows' PowerShell and Excel ("Unicode text")
    write UTF-16."""
    with file.open("rb") as opened:
        return "utf-16" if opened.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
