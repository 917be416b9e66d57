"""What became of each of many things, a line of JSON each: killed at any moment, the same work goes on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from adaptface_jax.core.errors import InputError


class Journal:
    """Lines that are on disk as soon as they are known; a last line that was cut off counts as never written.

    lines: what is known, by the path (or key) of the thing.
    Raises InputError for a file with a line that `add` did not write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.lines: dict[str, dict[str, Any]] = {}
        whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
        for number, text in enumerate(whole.splitlines(), start=1):
            try:
                line = json.loads(text)
                self.lines[line.pop("path")] = line
            except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
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
