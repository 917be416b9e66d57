"""The outcome of each item, one JSON line each: work killed at any moment can resume."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.json_io import from_plain


class Journal:
    """Lines that are on disk as soon as they are known; a truncated last line counts as never written.

    kind_of: gives the dataclass whose fields an item's line must hold, from its path (or key) and the line. lines: what
    is known, by the item's path. Raises InputError for a file with a line that `add` did not write.
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
                raise InputError(f"{path}: line {number} is corrupted; delete the file to start over") from None
        if path.exists() and path.stat().st_size > len(whole) + 1:
            os.truncate(path, len(whole) + 1 if whole else 0)

    def add(self, name: str, line: dict[str, Any]) -> None:
        """Record an item's outcome."""
        self.lines[name] = line
        # ASCII: names that are not UTF-8 survive unchanged.
        text = json.dumps({"path": name} | line)
        with open(self._path, "a", encoding="ascii") as file:
            file.write(text + "\n")
