"""What became of each of many things, a line of JSON each: killed at any moment, the same work goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.json_io import from_plain


class Journal:
    """Lines that are on disk as soon as they are known; a last line that was cut off counts as never written.

    kind_of: of the dataclass that the line of a thing must hold the fields of, by its path (or key) and the line.
    lines: what is known, by the path of the thing.
    Raises InputError for a file with a line that `add` did not write.
    """

    def __init__(self, path: Path, kind_of: Callable[[str, dict[str, Any]], type]) -> None:
        self._path = path
        self.lines: dict[str, dict[str, Any]] = {}
        whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
        for number, text in enumerate(whole.splitlines(), start=1):
            try:
                line = json.loads(text)
                name = line.pop("path")
                from_plain(line, kind_of(name, line), "")
                self.lines[name] = line
            except (InputError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
                raise InputError(f"{path}: line {number} is damaged; delete the file to look at all again") from None
        if path.exists() and path.stat().st_size > len(whole) + 1:
            os.truncate(path, len(whole) + 1 if whole else 0)

    def add(self, name: str, line: dict[str, Any]) -> None:
        """Note what became of a thing."""
        self.lines[name] = line
        # ASCII: names that are no UTF-8 come back as they were.
        text = json.dumps({"path": name} | line)
        with open(self._path, "a", encoding="ascii") as file:
            file.write(text + "\n")
