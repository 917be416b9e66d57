# SPDX-License-Identifier: Apache-2.0
"""WebDataset: uncompressed tar files in which KEY.jpg (or another image) and KEY.cls, its class as text, lie together.

Keys end at the first dot of a file's name. Other files of a key are left out.
"""

from __future__ import annotations

import itertools
import os
import re
import tarfile
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import one_line, plural, shown
from adaptface_jax.data.image_files import MAX_BYTES, skipped_beside
from adaptface_jax.data.image_formats import SUFFIXES
from adaptface_jax.data.record import Record, Source
from adaptface_jax.data.skipped_files import BESIDE_RECORDS
from adaptface_jax.data.sources.part_words import WORDS
from adaptface_jax.data.text_array import TextArray

_NAME = re.compile(r"((?:.*/)?[^./][^./]*)(\..+)", re.DOTALL)
_CLASS = ".cls"
_LOOK = 64  # files of a tar by which it is recognized
_EXPECTED = "expected a WebDataset tar: for each image KEY.jpg its class in KEY.cls"


def tars_in(folder: Path) -> list[Path]:
    """The WebDataset tars in a folder, only those of the training part if their names tell parts."""
    found = sorted(path for path in folder.glob("*.tar") if path.is_file() and not path.name.startswith("."))
    training = [path for path in found if path.name.lower().startswith(WORDS["train"])]
    found = training or found
    return found if found and is_web_dataset(found[0]) else []


def is_web_dataset(file: Path) -> bool:
    """Whether one of the first files in a tar is a class; False for what is not a tar."""
    try:
        return any(ending == _CLASS for _, ending, _ in itertools.islice(_members(file), _LOOK))
    except InputError:
        return False


class WebDatasetSource(Source):
    """The images of some tars in their order, with classes by ascending number, or else as text; a `Source`.

    Opening walks through every tar from header to header. A record's key is `TAR/KEY`. Picklable, thread-safe.
    Raises InputError for a tar that cannot be read, an image without a class, and a class that is no short text.
    """

    def __init__(self, folder: Path, tars: Sequence[Path]) -> None:
        self._tars = [str(path) for path in tars]
        places, keys, words = array("q"), [], []
        for number, tar in enumerate(tars):
            for key, start, size, word in _samples(tar):
                places.extend((number, start, size))
                keys.append(f"{tar.name}/{key}")
                words.append(word)
        if not keys:
            raise InputError(f"{shown(str(tars[0]))}: holds no image; {_EXPECTED}")
        self._places = np.array(places, np.int64).reshape(-1, 3)
        self._keys = TextArray.of(keys)
        numbers = all(word.isdecimal() for word in set(words))
        names = sorted(set(words), key=(lambda word: (int(word), word)) if numbers else None)
        of_name = {name: label for label, name in enumerate(names)}
        labels = np.fromiter((of_name[word] for word in words), np.int32, len(words))
        what = plural(len(tars), "WebDataset tar")
        super().__init__(labels, TextArray.of(names), f"{what} in {shown(str(folder))}")
        self.skipped_files = skipped_beside(folder, {tar.name for tar in tars}, BESIDE_RECORDS)

    def __getitem__(self, index: int) -> Record:
        number, start, size = self._places[index].tolist()
        name = f"{self._tars[number]}: {self.key(index)}"
        if size > MAX_BYTES:
            raise InputError(f"{name}: {size} bytes are too many for an image; at most {MAX_BYTES} are read")
        try:
            with open(self._tars[number], "rb") as file:
                image = os.pread(file.fileno(), size, start)
        except OSError as error:
            raise InputError(f"{name}: cannot be read ({error.strerror})") from None
        return Record(image, int(self.labels[index]), self.key(index))

    def key(self, index: int) -> str:
        return self._keys[range(len(self))[index]]


def _samples(tar: Path) -> Iterator[tuple[str, int, int, str]]:
    """Of each image: its key, where its bytes begin, how many there are, and its class."""
    images: dict[str, tuple[int, int]] = {}
    classes: dict[str, str] = {}
    for key, ending, member in _members(tar):
        if ending == _CLASS:
            classes[key] = _text(tar, member)
        elif ending in SUFFIXES and images.setdefault(key, (member.offset_data, member.size))[0] != member.offset_data:
            raise InputError(f"{shown(str(tar))}: {shown(key)} has two images; {_EXPECTED}")
    for key, (start, size) in images.items():
        if key not in classes:
            raise InputError(f"{shown(str(tar))}: {shown(key)} has no {_CLASS}; {_EXPECTED}")
        yield key, start, size, classes[key]


def _text(tar: Path, member: tarfile.TarInfo) -> str:
    with tar.open("rb") as file:
        text = os.pread(file.fileno(), min(member.size, 200), member.offset_data)
    word = text.decode("utf-8", "replace").strip()
    if not word or member.size > 100 or not word.isprintable():
        raise InputError(f"{shown(str(tar))}: {shown(member.name)} holds no class; {_EXPECTED}")
    return word


def _members(tar: Path) -> Iterator[tuple[str, str, tarfile.TarInfo]]:
    """Of each file in a tar: its key, its ending in lowercase, and where it is."""
    end = 0
    try:
        with tarfile.open(tar, "r:") as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # which would hold millions
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                found = _NAME.fullmatch(member.name)
                if found and member.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
                    yield found[1], found[2].lower(), member
        with tar.open("rb") as file:  # tarfile takes a corrupted header for the end
            block = os.pread(file.fileno(), tarfile.BLOCKSIZE, end)
        if len(block) < tarfile.BLOCKSIZE or any(block):
            raise InputError(f"{shown(str(tar))}: has no end at byte {end}, where its last file ends; copy it again")
    except InputError:
        raise
    except Exception as error:  # tarfile raises ValueError, OverflowError ... for a corrupted file
        raise InputError(f"{shown(str(tar))}: cannot be read ({one_line(error)}); {_EXPECTED}") from None
