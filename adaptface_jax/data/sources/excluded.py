# SPDX-License-Identifier: Apache-2.0
"""A training set without the people in a pair list (`data.exclude`)."""

from __future__ import annotations

import dataclasses
import os
from pathlib import PurePath

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural, shown
from adaptface_jax.data.benchmarks.from_path import open_benchmark
from adaptface_jax.data.record import Record, Source
from adaptface_jax.data.sources.selection import Selection


class Excluded(Selection):
    """The records of the people who are not in the pairs, with renumbered classes in the same order; a `Source`.

    pairs: a list over identity folders, as for `--benchmark`. A path's identity is the innermost of its folders that
      is an identity of the source.
    Raises InputError for a benchmark that lists no files, and for an identity that the source lacks.
    """

    def __init__(self, source: Source, pairs: str):
        there = {name: label for label, name in enumerate(source.class_names)}
        dropped: set[int] = set()
        for key in open_benchmark(pairs).keys or ():
            folders = [part for part in reversed(PurePath(key).parent.parts) if part in there]
            identity = folders[0] if folders else os.path.basename(os.path.dirname(key))
            if identity not in there:
                raise InputError(
                    f"data.exclude: {shown(pairs)} names {shown(key)!r}, but {shown(identity)!r} is not an identity of "
                    f"{source.description}; expected a pair list over the folders of this dataset"
                )
            dropped.add(there[identity])
        if not dropped:
            raise InputError(f"data.exclude: {shown(pairs)} names no files; expected a list of image pairs")
        kept = np.ones(source.num_classes, bool)
        kept[list(dropped)] = False
        note = f"{plural(len(dropped), 'identity')} of {shown(pairs)} excluded"
        super().__init__(source, np.flatnonzero(kept[source.labels]), note)
        self.labels = (np.cumsum(kept, dtype=np.int32) - 1)[self.labels]
        self.class_names = [name for name, stays in zip(source.class_names, kept, strict=True) if stays]

    def __getitem__(self, index: int) -> Record:
        return dataclasses.replace(super().__getitem__(index), label=int(self.labels[index]))
