"""Image files that a list names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from adaptface_jax.data.image_files import read_file
from adaptface_jax.data.record import NO_CLASS, Record, Source
from adaptface_jax.data.text_array import TextArray


class ListedFiles(Source):
    """Files under `folder`, with classes (int32 [N]) or attributes (int32 [N, A]); a `Source`.

    files: paths within the folder, which are the records' keys; opened on access.
    """

    def __init__(
        self, folder: Path, files: TextArray, labels: np.ndarray, class_names: Sequence[str], description: str
    ) -> None:
        self.folder, self._files = folder, files
        super().__init__(labels, class_names, description)

    def __getitem__(self, index: int) -> Record:
        key = self.key(index)
        label = NO_CLASS if self.multi_label else int(self.labels[index])
        return Record(read_file(os.path.join(self.folder, key)), label, key)

    def key(self, index: int) -> str:
        return self._files[index]

    def key_blocks(self) -> Iterator[bytes]:
        yield self._files.content
