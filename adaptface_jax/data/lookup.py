"""Where the images in a list are on disk, however the list spells their paths."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import NamedTuple

from adaptface_jax.data.image_files import is_dir, is_file


class _Listing(NamedTuple):
    """The files and the folders in a folder: a spelling, as on disk or composed (NFC) -> the name on disk."""

    files: dict[str, str]
    folders: dict[str, str]


class Lookup:
    """Finds files under a folder: with either slash, and accents as one character or as two (Unicode NFC, NFD; macOS
    writes the latter). An exact match takes precedence.

    Folders are listed once: checking millions of files one by one is slow on a network drive.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listings: dict[str, _Listing] = {}

    def find(self, path: str) -> str | None:
        """The path within the folder (or the absolute one) as the disk spells it; None if there is no such file."""
        for text in dict.fromkeys((path, path.replace("\\", "/"))):
            if "\0" not in text and (found := self._file(os.path.normpath(text))):
                return found
        return None

    def _file(self, key: str) -> str | None:
        place, name = os.path.split(key)
        folder = self._place(place)
        if folder is None:
            return None
        if found := _spelled(self._listing(folder).files, name):
            return os.path.join(folder, found)
        # If a folder cannot be listed, its files may still be readable.
        return key if os.path.isfile(os.path.join(self._folder, key)) else None

    def _place(self, folder: str) -> str | None:
        """A folder as the disk spells it."""
        if folder in self._listings or os.path.isdir(os.path.join(self._folder, folder)):
            return folder
        above, name = os.path.split(folder)
        if folder.isascii() or not name:
            return None
        place = self._place(above)
        found = None if place is None else _spelled(self._listing(place).folders, name)
        return found and os.path.join(place or "", found)

    def _listing(self, folder: str) -> _Listing:
        if folder not in self._listings:
            listing = self._listings[folder] = _Listing({}, {})
            try:
                with os.scandir(os.path.join(self._folder, folder)) as entries:
                    for entry in entries:
                        names = listing.folders if is_dir(entry) else listing.files if is_file(entry) else {}
                        names[entry.name] = entry.name
                        if not entry.name.isascii():
                            names.setdefault(unicodedata.normalize("NFC", entry.name), entry.name)
            except OSError:
                pass  # it does not exist, or cannot be listed
        return self._listings[folder]


def _spelled(names: dict[str, str], name: str) -> str | None:
    return names.get(name) or (None if name.isascii() else names.get(unicodedata.normalize("NFC", name)))
