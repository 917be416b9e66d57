"""A folder of probes searched in a folder of known people: the metrics, and who was found in each image."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adaptface_jax.api.gallery import Gallery
from adaptface_jax.api.hit_lists import Searched
from adaptface_jax.api.hits import hits
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown
from adaptface_jax.data.benchmarks.pair_list import Files
from adaptface_jax.data.readable import Readable
from adaptface_jax.data.sources.folders import FolderSource
from adaptface_jax.evaluation.distances import unit_embeddings
from adaptface_jax.evaluation.identification import Identification, identify, person_templates
from adaptface_jax.evaluation.search import Faces
from adaptface_jax.evaluation.thresholds import Threshold

TOP = 5  # people listed per probe


class Found(NamedTuple):
    """The metrics, and the people most similar to each probe; distractors have no names and are not listed."""

    metrics: Identification
    searched: list[Searched]


class FolderSearch:
    """gallery, probes: folders with one folder per person; the same name in both is one person (Unicode NFC)."""

    def __init__(self, gallery: Path, probes: Path) -> None:
        self.gallery, self.probes = FolderSource(gallery), FolderSource(probes)
        sources = (self.gallery, self.probes)
        self.paths = [os.path.join(source.folder, source.key(i)) for source in sources for i in range(len(source))]
        self.names, shown = ([unicodedata.normalize("NFC", name) for name in source.class_names] for source in sources)
        number = {name: place for place, name in enumerate(dict.fromkeys([*self.names, *shown]))}
        self.person = np.array([number[name] for name in shown])[self.probes.labels]
        self.everybody = frozenset(number)
        self.images = Readable(Files(self.paths), self.paths)

    def first_image(self, name: str) -> str:
        """The path of the first readable image of a person in the gallery."""
        own = self.gallery.labels == self.gallery.class_names.index(name)
        return self.paths[int(np.argmax(own & self.images.read(0, len(self.gallery))))]

    def search(self, rows: np.ndarray, distractors: Faces | None, limit: Threshold | None) -> Found:
        """rows: float [N, E], raw embeddings of `images`; unreadable ones are left out. distractors: with negative
        numbers. limit: the threshold that decides.

        Raises InputError if no image of the gallery can be read, and if no probe shows a person in it.
        """
        count = len(self.gallery)
        own, seen = self.images.read(0, count), self.images.read(count)
        if not own.any():
            raise InputError(f"{self.gallery.description}: none of its images can be read; {self.images.unreadable[0]}")
        people, label = np.unique(self.gallery.labels[own], return_inverse=True)
        templates = person_templates(rows[:count][own], label)
        units = unit_embeddings(rows[count:][seen]).astype(np.float32)
        metrics = identify(
            Faces(templates, people),
            Faces(units, self.person[seen]),
            distractors,
            images=int(own.sum()),
            threshold=None if limit is None else limit.value,
        )
        known = Gallery(templates.shape[1]).added([self.gallery.class_names[one] for one in people], templates)
        searched = iter(hits(known, units, TOP, limit))
        unread = self.images.unreadable
        found = [
            Searched(path, next(searched))
            if read
            else Searched(path, problem=unread[number].removeprefix(f"{shown(path)}: "))
            for number, (path, read) in enumerate(zip(self.paths[count:], seen, strict=True), start=count)
        ]
        return Found(metrics, found)
