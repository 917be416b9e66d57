# SPDX-License-Identifier: Apache-2.0
"""Distractors: additional people in a gallery, whom no probe shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural, shown
from adaptface_jax.data.image_files import ImageFiles
from adaptface_jax.data.readable import Readable
from adaptface_jax.data.record import Images, Source
from adaptface_jax.data.skipped_files import SkippedFiles
from adaptface_jax.data.sources.folders import FolderSource, holds_identities
from adaptface_jax.data.sources.from_path import is_packed, open_form


class Distractors:
    """images: M. keys: their names in errors. person: int [M], 0..D-1. names: of the people, empty if none is known.
    skipped_files: files that are not read."""

    def __init__(self, images: Sequence[bytes | np.ndarray], keys: Sequence[str], person: np.ndarray) -> None:
        self.images, self.keys, self.person = Readable(images, keys), keys, person
        self.names: frozenset[str] = frozenset()
        self.skipped_files, self.description = SkippedFiles(), ""

    def read(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows [M, E] of the images that could be read, and the person of each, from 0 on; all must have been
        accessed.

        Raises InputError if none could be read.
        """
        self.images.check_some()
        read = self.images.read()
        return rows[read], np.unique(self.person[read], return_inverse=True)[1]

    @classmethod
    def of(cls, source: Source) -> Distractors:
        """Everyone in a training set."""
        images = Images(source)
        _, person = np.unique(source.labels, return_inverse=True)  # a class may have no image
        result = cls(images, images.keys, person)
        result.skipped_files = source.skipped_files
        if isinstance(source, FolderSource):
            result.names = frozenset(source.class_names)
        result.description = (
            f"{source.description}: {plural(int(person.max()) + 1, 'person')} as distractors, one row each"
        )
        return result


def open_distractors(path: str) -> Distractors:
    """What `data.train` takes, or a folder of images without subfolders, each image a different person.

    Raises InputError if there is nothing there, or no image.
    """
    folder = Path(path)
    if folder.is_dir() and not is_packed(folder) and not holds_identities(folder):
        files = ImageFiles(folder)
        result = Distractors(files, [shown(name) for name in files.paths], np.arange(len(files)))
        result.skipped_files = files.skipped_files
        result.description = f"{shown(path)}: {plural(len(files), 'image')} as distractors, each of a different person"
        return result
    source = open_form(path)
    if source.multi_label:
        raise InputError(f"--distractors: {source.description}: has attributes; expected a dataset of identities")
    return Distractors.of(source)
