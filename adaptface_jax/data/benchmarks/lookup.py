"""Where the images of a list are on disk, in whatever spelling the list has their paths."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path


class Lookup:
    """Finds files below a folder: with either slash, and accents as one character or as two (Unicode NFC, NFD; a Mac
    writes the second). What stands there letter by letter wins."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, dict[str, str]] = {}

    def find(self, path: str) -> str | None:
        """The path within the folder (or the absolute one) as the disk spells it; None where there is no such file."""
        for text in dict.fromkeys((path, path.replace("\\", "/"))):
            key = os.path.normpath(text)
            if os.path.isfile(os.path.join(self._folder, key)):
                return key
            if not key.isascii() and (found := self._respelt(key)):
                return found
        return None

    def _respelt(self, key: str) -> str | None:
        found = ""
        for part in Path(key).parts:
            direct = os.path.join(found, part)
            if not os.path.exists(os.path.join(self._folder, direct)):
                name = self._listed(found).get(unicodedata.normalize("NFC", part))
                if name is None:
                    return None
                direct = os.path.join(found, name)
            found = direct
        return found if os.path.isfile(os.path.join(self._folder, found)) else None

    def _listed(self, folder: str) -> dict[str, str]:
        """The names in a folder by their composed form."""
        if folder not in self._names:
            try:
                names = os.listdir(os.path.join(self._folder, folder))
            except OSError:
                names = []
            self._names[folder] = {unicodedata.normalize("NFC", name): name for name in names if not name.isascii()}
        return self._names[folder]
