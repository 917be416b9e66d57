"""A part of a dataset, with the classes of the whole dataset."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown
from adaptface_jax.data.record import Record, Source


class Relabeled(Source):
    """The records of a source in its order, their classes numbered as in `class_names`; a `Source`.

    Raises InputError for a class that is not among them.
    """

    def __init__(self, source: Source, class_names: Sequence[str]) -> None:
        number = {name: place for place, name in enumerate(class_names)}
        unknown = [name for name in source.class_names if name not in number]
        if unknown:
            raise InputError(
                f"{source.description}: the class {shown(unknown[0])!r} is not among the {len(class_names)} of "
                "the training part; expected images of those only"
            )
        labels = np.array([number[name] for name in source.class_names], np.int32)[source.labels]
        self._source = source
        super().__init__(labels, class_names, source.description)
        self.know_as(source)

    def __getitem__(self, index: int) -> Record:
        return dataclasses.replace(self._source[index], label=int(self.labels[index]))

    def key(self, index: int) -> str:
        return self._source.key(index)
