# SPDX-License-Identifier: Apache-2.0
"""Some records of a source."""

from __future__ import annotations

import numpy as np

from adaptface_jax.data.record import Record, Source


class Selection(Source):
    """The records of a source at `indices` (int [M]), in that order, with all of its classes; a `Source`.

    note: what was selected, for the description.
    """

    def __init__(self, source: Source, indices: np.ndarray, note: str) -> None:
        self._source, self._indices = source, indices
        super().__init__(source.labels[indices], source.class_names, f"{source.description} ({note})")
        self.know_as(source, indices)

    def __getitem__(self, index: int) -> Record:
        return self._source[int(self._indices[index])]

    def key(self, index: int) -> str:
        return self._source.key(int(self._indices[index]))
