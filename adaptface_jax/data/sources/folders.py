"""A folder per identity, or per class of any other kind, image files inside."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown
from adaptface_jax.data.decode import SUFFIXES
from adaptface_jax.data.image_files import is_image_name, read_file
from adaptface_jax.data.record import Record, Source
from adaptface_jax.data.text_array import TextArray

_PLURAL = {"identity": "identities", "class": "classes"}


class FolderSource(Source):
    """Identities in sorted order of their folders' names, images in sorted order within; a `Source`.

    Hidden names and files that are no image (decode.SUFFIXES) are passed over; folders without an image are no
    identity. Files are only opened when read. A record's key is `identity/file`.

    noun: what messages call an identity.
    Raises InputError for a folder that holds no identity, and for one that holds an identity twice: names that differ
    in case or in Unicode form alone, or a link to another identity's folder. Such a set would train one person
    against himself.
    """

    def __init__(self, folder: Path, noun: Literal["identity", "class"] = "identity"):
        self.folder = folder
        classes: list[str] = []
        counts: list[int] = []

        def files() -> Iterator[str]:
            for name in identity_names(folder):
                found = image_names(folder / name)
                if found:
                    classes.append(name)
                    counts.append(len(found))
                    yield from found

        self._files = TextArray.of(files())
        if not counts:
            kinds = " ".join(SUFFIXES)
            raise InputError(
                f"{shown(str(folder))}: no {_PLURAL[noun]} found; expected one folder per {noun} with files of {kinds}"
            )
        refuse_twins(folder, classes, noun)
        labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        super().__init__(labels, classes, f"{noun} folders in {shown(str(folder))}")

    def __getitem__(self, index: int) -> Record:
        key = self.key(index)
        return Record(read_file(os.path.join(self.folder, key)), int(self.labels[index]), key)

    def key(self, index: int) -> str:
        return f"{self.class_names[self.labels[index]]}/{self._files[index]}"


def identity_names(folder: Path) -> list[str]:
    """Sorted names of the folders in `folder`, hidden ones left out. Raises InputError where it cannot be listed."""
    return sorted(entry.name for entry in _entries(folder) if _is_dir(entry))


def image_names(folder: Path) -> list[str]:
    """Sorted names of the image files directly in `folder`."""
    return sorted(entry.name for entry in _entries(folder) if is_image_name(entry.name) and not _is_dir(entry))


def refuse_twins(folder: Path, names: Sequence[str], noun: str = "identity") -> None:
    """Raise InputError where two folders are one identity, or whatever `noun` they hold."""
    seen: dict[str, str] = {}
    for name in names:
        first = seen.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if first != name:
            raise InputError(
                f"{shown(str(folder))}: the {_PLURAL[noun]} {first!r} and {name!r} differ only in case or Unicode "
                "form; merge or rename one of them"
            )
    links = [name for name in names if os.path.islink(folder / name)]
    if links:
        real = {os.path.realpath(folder / name): name for name in names if name not in set(links)}
        for name in links:
            first = real.setdefault(os.path.realpath(folder / name), name)
            if first != name:
                raise InputError(
                    f"{shown(str(folder))}: the {noun} {name!r} is a link to {first!r}; remove one of them"
                )


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(
            f"{shown(str(folder))}: cannot be listed ({error.strerror}); expected a folder of images"
        ) from None


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
