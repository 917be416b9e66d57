# SPDX-License-Identifier: Apache-2.0
"""Where the images in a list are on disk, however the list spells their paths."""

from __future__ import annotations

import itertools
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from adaptface_jax.core.text import plural, shortened, shown
from adaptface_jax.data.image_files import MOST_FOLDERS, is_dir, is_file, is_no_ones
from adaptface_jax.data.image_formats import SUFFIXES

_TRIED = 20  # paths of a list, before it counts as written for another folder


class _Listing(NamedTuple):
    """The files and the folders in a folder: a spelling, as on disk or composed (NFC) -> the name on disk."""

    files: dict[str, str]
    folders: dict[str, str]


class _Alike(NamedTuple):
    """The names on disk in a folder: of files by their names without case, of images by those without ending, of
    folders by theirs without case."""

    files: dict[str, list[str]]
    images: dict[str, list[str]]
    folders: dict[str, list[str]]


class Lookup:
    """Finds files under a folder: with either slash, and accents as one character or as two (Unicode NFC, NFD; macOS
    writes the latter). An exact match takes precedence; then one in other case; then an image with another ending or
    where the list has none, as after conversion or alignment. What several files match that way is not found.

    Folders are listed once: checking millions of files one by one is slow on a network drive.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listings: dict[str, _Listing] = {}
        self._alike: dict[str, _Alike] = {}
        self._inner = self._dropped = ""
        self.several: list[str] = []  # the folders that all have what a list names, which `settle` does not choose from
        self._respelled: dict[str, str] = {}

    def find(self, path: str) -> str | None:
        """The path within the folder (or the absolute one) as the disk spells it; None if there is no such file."""
        found = self._find(path)
        if found and not path.endswith(found):  # millions of paths are as listed
            asked = _folded(os.path.basename(path.replace("\\", "/")))
            if asked.endswith(SUFFIXES) and _folded(os.path.basename(found)) != asked:
                self._respelled.setdefault(path, found)
        return found

    def _find(self, path: str) -> str | None:
        for text in (path, path.replace("\\", "/")) if "\\" in path else (path,):
            text = text.removeprefix(self._dropped)
            key = os.path.normpath(os.path.join(self._inner, text) if self._inner else text)
            if "\0" not in text and (found := self._file(key)):
                return found
        return None

    def settle(self, paths: Sequence[str]) -> bool:
        """Adapt to a list written for another folder, and return whether any of its first paths is found.

        If none is as it stands, the folders that all paths share are left out (`lfw/`, `/home/me/data/`), or a folder
        in this one, or one further in, is taken: the only one that has some of them.
        """
        texts = [path.replace("\\", "/") for path in itertools.islice(dict.fromkeys(paths), _TRIED)]
        if any(map(self._find, texts)):
            return True
        drops = ["", *_shared(path.replace("\\", "/") for path in paths)]
        before = self._inner, self._dropped
        for inners in ([""], self._folders_in(""), self._second_level()):
            for drop in drops:
                held = []
                for inner in inners:
                    self._inner, self._dropped = inner, drop
                    if any(map(self._find, texts)):
                        held.append(inner)
                if len(held) == 1:
                    self._inner, self._dropped = held[0], drop
                    return True
                self.several = self.several or held
        self._inner, self._dropped = before
        return False

    @property
    def said(self) -> str:
        """What differs from the list, to follow a description: "" or ", ..."."""
        said = f", its images in {shown(self._inner)}/" if self._inner else ""
        if self._dropped:
            said += f", paths without {shown(shortened(self._dropped, 80))}"
        if self._respelled:
            asked, found = next(iter(self._respelled.items()))
            said += (
                f", {plural(len(self._respelled), 'image')} with another ending "
                f"({shown(shortened(os.path.basename(found), 40))} for {shown(shortened(os.path.basename(asked), 40))})"
            )
        return said

    def _folders_in(self, inner: str) -> list[str]:
        names = self._listing(inner).folders.values()
        found = sorted(os.path.join(inner, name) for name in set(names) if not is_no_ones(name))
        return found if len(found) <= MOST_FOLDERS else []

    def _second_level(self) -> list[str]:
        return [inner for outer in self._folders_in("") for inner in self._folders_in(outer)]

    def _file(self, key: str) -> str | None:
        place, name = os.path.split(key)
        folder = self._place(place)
        if folder is None:
            return None
        if found := _spelled(self._listing(folder).files, name) or self._loosely(folder, name):
            return os.path.join(folder, found)
        # If a folder cannot be listed, its files may still be readable.
        return key if os.path.isfile(os.path.join(self.folder, key)) else None

    def _place(self, folder: str) -> str | None:
        """A folder as the disk spells it."""
        if folder in self._listings or os.path.isdir(os.path.join(self.folder, folder)):
            return folder
        above, name = os.path.split(folder)
        if os.path.isabs(folder) or not name:
            return None
        place = self._place(above)
        if place is None:
            return None
        found = _spelled(self._listing(place).folders, name) or _only(self._alike_in(place).folders, _folded(name))
        return found and os.path.join(place, found)

    def _loosely(self, folder: str, name: str) -> str | None:
        alike = self._alike_in(folder)
        return _only(alike.files, _folded(name)) or _only(alike.images, _stem(_folded(name)))

    def _alike_in(self, folder: str) -> _Alike:
        if folder not in self._alike:
            listing, alike = self._listing(folder), _Alike({}, {}, {})
            for name in dict.fromkeys(listing.files.values()):
                folded = _folded(name)
                alike.files.setdefault(folded, []).append(name)
                if folded.endswith(SUFFIXES) and not name.startswith("."):
                    alike.images.setdefault(_stem(folded), []).append(name)
            for name in dict.fromkeys(listing.folders.values()):
                alike.folders.setdefault(_folded(name), []).append(name)
            self._alike[folder] = alike
        return self._alike[folder]

    def _listing(self, folder: str) -> _Listing:
        if folder not in self._listings:
            listing = self._listings[folder] = _Listing({}, {})
            try:
                with os.scandir(os.path.join(self.folder, folder)) as entries:
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


def _only(names: dict[str, list[str]], name: str) -> str | None:
    found = names.get(name, [])
    return found[0] if len(found) == 1 else None


def _folded(name: str) -> str:
    return (name if name.isascii() else unicodedata.normalize("NFC", name)).casefold()


def _stem(name: str) -> str:
    """A name without the ending of an image; other dots belong to the name."""
    return os.path.splitext(name)[0] if name.endswith(SUFFIXES) else name


def _shared(paths: Iterable[str]) -> Iterator[str]:
    """The folders with which all paths begin, one more at a time: "a/", "a/b/"; none of a single path."""
    parts = [path.split("/")[:-1] for path in dict.fromkeys(paths)]
    if len(parts) < 2:
        return
    shared = ""
    for names in zip(*parts, strict=False):
        if len(set(names)) > 1:
            return
        shared += f"{names[0]}/"
        yield shared
