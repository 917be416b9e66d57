# SPDX-License-Identifier: Apache-2.0
"""One folder per identity, or per class of any other kind, with image files inside."""

from __future__ import annotations

import itertools
import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural, plural_of, shown
from adaptface_jax.data.image_files import (
    count_skipped,
    entries_of,
    images_below,
    is_above,
    is_dir,
    is_no_ones,
    read_file,
    why_skipped,
)
from adaptface_jax.data.image_formats import SUFFIXES
from adaptface_jax.data.labels import LABELS
from adaptface_jax.data.record import Record, Source
from adaptface_jax.data.skipped_files import SkippedFiles
from adaptface_jax.data.sources.part_words import WORDS, are_parts
from adaptface_jax.data.text_array import TextArray


class FolderSource(Source):
    """Identities sorted by folder name, images sorted within each; a `Source`.

    Every image under an identity's folder is of that identity, the folder's own before those in subfolders
    (`image_files.images_below`). Images directly in `folder` have no identity; they, and all other unread files, are
    counted in `skipped_files`. Folders without an image are not identities. Files are only opened when read. A
    record's key is `identity/file`.

    noun: the word for an identity in messages.
    Raises InputError for a folder without identities, and for one with duplicates: names that differ only in case or
    Unicode form, or a link to another identity's folder. Such a dataset would train one person against themself. So
    would one whose people are in its train/ and test/, which is refused too.
    """

    def __init__(self, folder: Path, noun: Literal["identity", "class"] = "identity"):
        self.folder = folder
        self.skipped_files = SkippedFiles()
        classes: list[str] = []
        counts: list[int] = []
        deeper = empty = 0

        def files() -> Iterator[str]:
            nonlocal deeper, empty
            for name in identity_names(folder, self.skipped_files, noun):
                found = list(images_below(os.path.join(folder, name), self.skipped_files, folder))
                if found:
                    classes.append(name)
                    counts.append(len(found))
                    deeper += sum(os.sep in file for file in found)
                    yield from found
                else:
                    empty += 1

        self._files = TextArray.of(files())
        if not counts:
            raise InputError(_nobody(folder, noun, self.skipped_files))
        if deeper == len(self._files) and are_parts(classes):
            one = next((name for name in classes if name.casefold() in WORDS["train"]), classes[-1])
            raise InputError(
                f"{shown(str(folder))}: holds the parts {shown(', '.join(classes[:8]))} of a dataset, not "
                f"{plural_of(noun)}; name one of them, e.g. {shown(str(folder / one))}"
            )
        refuse_twins(folder, classes, noun)
        labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        nested = f", {deeper:,} of the images in subfolders" if deeper else ""
        if deeper == len(self._files):
            nested = f", every image in a subfolder of its {noun}'s folder"
        if empty:
            nested += f", {plural(empty, 'folder')} without an image"
        super().__init__(labels, classes, f"{noun} folders in {shown(str(folder))}{nested}")

    def __getitem__(self, index: int) -> Record:
        key = self.key(index)
        return Record(read_file(os.path.join(self.folder, key)), int(self.labels[index]), key)

    def key(self, index: int) -> str:
        return f"{self.class_names[self.labels[index]]}/{self._files[index]}"

    def key_blocks(self) -> Iterator[bytes]:
        ends = np.cumsum(np.bincount(self.labels, minlength=self.num_classes)).tolist()
        for name, start, end in zip(self.class_names, [0, *ends], ends, strict=False):
            folder = os.fsencode(f"{name}/")
            yield folder + self._files.between(start, end)[:-1].replace(b"\0", b"\0" + folder) + b"\0"


def identity_names(folder: Path, skipped: SkippedFiles | None = None, noun: str = "identity") -> list[str]:
    """Sorted names of the folders in `folder` that may be an identity's.

    skipped: counts all other entries. Raises InputError if the folder cannot be listed.
    """
    found = []
    real = os.path.realpath(folder)
    for entry in entries_of(str(folder)):
        if is_dir(entry) and not is_no_ones(entry.name) and not is_above(entry, real):
            found.append(entry.name)
        elif skipped is not None and entry.name != LABELS:  # which is read, or reported
            count_skipped(entry, skipped, f"outside any {noun} folder")
    return found


def image_names(folder: Path) -> list[str]:
    """Sorted names of the image files directly in `folder`."""
    return [entry.name for entry in entries_of(str(folder)) if not is_dir(entry) and not why_skipped(entry)]


def holds_identities(folder: Path, least: int = 1) -> bool:
    """Whether at least this many subfolders hold an image, at any depth."""
    found = (images_below(folder / name, SkippedFiles(), folder) for name in identity_names(folder))
    there = (True for images in found if next(images, None) is not None)
    return len(list(itertools.islice(there, least))) == least


def refuse_twins(folder: Path, names: Sequence[str], noun: str = "identity") -> None:
    """Raise InputError if two folders are the same identity (or other `noun`)."""
    seen: dict[str, str] = {}
    for name in names:
        first = seen.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if first != name:
            raise InputError(
                f"{shown(str(folder))}: the {plural_of(noun)} {first!r} and {name!r} differ only in case or Unicode "
                "form; merge or rename one of them"
            )
    links = [name for name in names if os.path.islink(os.path.join(folder, name))]
    if links:
        real = {os.path.realpath(folder / name): name for name in names if name not in set(links)}
        for name in links:
            first = real.setdefault(os.path.realpath(folder / name), name)
            if first != name:
                raise InputError(
                    f"{shown(str(folder))}: the {noun} {name!r} is a link to {first!r}; remove one of them"
                )


def _nobody(folder: Path, noun: str, skipped: SkippedFiles) -> str:
    """The message about a folder in which no identity was found."""
    said = "".join(f"; {line}" for line in skipped.lines())
    return (
        f"{shown(str(folder))}: no {plural_of(noun)} found; expected one folder per {noun} with "
        f"{' '.join(SUFFIXES)} files{said}"
    )
