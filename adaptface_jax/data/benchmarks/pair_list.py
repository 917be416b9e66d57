# SPDX-License-Identifier: Apache-2.0
"""Pairs in a text file over a folder of images, as a benchmark; each image file is read (and embedded) once."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shortened, shown
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.image_files import read_file
from adaptface_jax.data.lookup import Lookup


class Files(Sequence[bytes]):
    """Encoded images, read on access. paths: the files."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [read_file(path) for path in self.paths[index]]
        return read_file(self.paths[index])


@dataclasses.dataclass
class Pairs:
    """The pairs found so far, over the images under `folder`."""

    folder: Path
    keys: list[str] = dataclasses.field(default_factory=list)
    index: list[int] = dataclasses.field(default_factory=list)
    issame: list[bool] = dataclasses.field(default_factory=list)
    fold: list[int] = dataclasses.field(default_factory=list)
    missing: list[str] = dataclasses.field(default_factory=list)
    _place: dict[str, int] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def lookup(self) -> Lookup:
        """The lookup in the folder."""
        return Lookup(self.folder)

    def add(self, first: str, second: str, same: bool, fold: int | None = None) -> None:
        """Add a pair of files, by their paths within the folder (or absolute ones), as `Lookup` finds them."""
        for path in (first, second):
            place = self._place.get(path)
            if place is None:
                place = self._place[path] = self._new(path)
            self.index.append(place)
        self.issame.append(same)
        if fold is not None:
            self.fold.append(fold)

    def _new(self, path: str) -> int:
        """The number of an image under a new spelling."""
        found = self.lookup.find(path)
        key = os.path.normpath(path.replace("\\", "/")) if found is None else found
        place = self._place.setdefault(key, len(self.keys))
        if place == len(self.keys):
            self.keys.append(key)
            if found is None:
                self.missing.append(os.path.join(self.folder, key))
        return place

    def benchmark(self, source: Path, description: str, **domains: Any) -> Benchmark:
        """All pairs. Raises InputError if there are none or only one kind, and if images are missing.

        source: the list, for messages. domains: a Benchmark's fields about domains.
        """
        name = shown(str(source))
        if not self.issame:
            raise InputError(f"{name}: lists no pair")
        if len(set(self.issame)) == 1:
            kind = "genuine" if self.issame[0] else "impostor"
            raise InputError(f"{name}: all {len(self.issame)} pairs are {kind}; expected both kinds")
        paths = [os.path.join(self.folder, key) for key in self.keys]
        if self.missing:
            first = ", ".join(shortened(shown(path), 200) for path in self.missing[:3])
            advice = "is this the list's folder?"
            if several := self.lookup.several:
                places = " and ".join(shown(f"{place}/") for place in several[:3])
                advice = f"they are in {places}: name one, {shown(os.path.join(self.folder, several[0]))}:{name}"
            raise InputError(f"{name}: {len(self.missing)} of {len(paths)} images are missing, e.g. {first}; {advice}")
        person, opposite = self._people()
        if opposite:
            description += ", genuine pairs are all of two folders and impostor pairs of one: are its labels inverted?"
        return Benchmark(
            images=Files(paths),
            index=np.array(self.index, np.int32),
            issame=np.array(self.issame, bool),
            description=description + self.lookup.said,
            keys=self.keys,
            fold=np.array(self.fold, np.int32) if self.fold else None,
            person=person,
            **domains,
        )

    def _people(self) -> tuple[np.ndarray | None, bool]:
        """The person in each image, int32 [M]: the folders at the first depth that agrees with every pair are people;
        None if no depth does. And whether the opposite is so at some depth."""
        folders = [Path(key).parts[:-1] for key in self.keys]
        first, second = np.reshape(self.index, (-1, 2)).T
        opposite = False
        for depth in range(1, max(map(len, folders)) + 1):
            names = np.array(["/".join(parts[:depth]) for parts in folders])
            person = np.unique(names, return_inverse=True)[1].astype(np.int32)
            alike = person[first] == person[second]
            if np.array_equal(alike, self.issame):
                return person, False
            opposite |= np.array_equal(~alike, self.issame)
        return None, opposite
