"""A folder per identity, image files inside."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adaptface_jax.data.decode import SUFFIXES
from adaptface_jax.data.record import Record
from adaptface_jax.errors import InputError


class FolderSource:
    """Identities in sorted order of their folders' names, images in sorted order within; a `Source`.

    Hidden names and files that are no image (decode.SUFFIXES) are passed over; folders without an image are no
    identity. Files are only opened when read.
    Raises InputError for a folder that holds no identity.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._paths: list[str] = []
        labels: list[int] = []
        self._num_classes = 0
        for identity in _names(folder, directories=True):
            files = image_files(folder / identity)
            self._paths += files
            labels += [self._num_classes] * len(files)
            self._num_classes += bool(files)
        self._labels = np.array(labels, np.int32)
        if not labels:
            kinds = " ".join(SUFFIXES)
            raise InputError(f"{folder}: no identities found; expected one folder per identity with files of {kinds}")

    @property
    def num_classes(self) -> int:
        return self._num_classes

    @property
    def labels(self) -> np.ndarray:
        return self._labels

    @property
    def description(self) -> str:
        return f"identity folders in {self._folder}"

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Record:
        path = self._paths[index]
        return Record(read_file(path), int(self._labels[index]), path)


class ImageFiles(Sequence[bytes]):
    """Every image file below a folder, at any depth, in sorted order; read when asked for.

    paths: the files. Raises InputError where there is no folder or no image in it.
    """

    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; expected a folder of images")
        self.paths = [
            os.path.join(parent, name)
            for parent, _, names in sorted(os.walk(folder))
            for name in sorted(names)
            if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        ]
        if not self.paths:
            raise InputError(f"{folder}: no image below it; expected files of {' '.join(SUFFIXES)}")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        return read_file(self.paths[index])


def image_files(folder: Path) -> list[str]:
    """Paths of the image files directly in `folder`, by ending, sorted."""
    names = _names(folder, directories=False)
    return [os.path.join(folder, name) for name in names if name.lower().endswith(SUFFIXES)]


def read_file(path: str) -> bytes:
    """The bytes of one image file. Raises InputError where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _names(folder: Path, directories: bool) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.is_dir() == directories and not e.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror}); expected a folder of images") from None
