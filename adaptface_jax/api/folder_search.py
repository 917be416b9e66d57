"""A folder of probes searched in a folder of known people: the figures, and who was found on each image."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adaptface_jax.api.gallery import Gallery
from adaptface_jax.api.hit_lists import Searched
from adaptface_jax.api.hits import hits
from adaptface_jax.data.sources.folders import FolderSource
from adaptface_jax.evaluation.distances import unit_embeddings
from adaptface_jax.evaluation.identification import Identification, identify, person_templates
from adaptface_jax.evaluation.search import Faces
from adaptface_jax.evaluation.thresholds import Threshold

TOP = 5  # people listed of each probe


class Found(NamedTuple):
    """The figures, and the people most like each probe; distractors, who have no names, are not among these."""

    figures: Identification
    searched: list[Searched]


class FolderSearch:
    """gallery, probes: folders with a folder a person; names that both have are one person (Unicode NFC)."""

    def __init__(self, gallery: Path, probes: Path) -> None:
        self.gallery, self.probes = FolderSource(gallery), FolderSource(probes)
        sources = (self.gallery, self.probes)
        self.paths = [os.path.join(source.folder, source.key(i)) for source in sources for i in range(len(source))]
        self.names, shown = ([unicodedata.normalize("NFC", name) for name in source.class_names] for source in sources)
        number = {name: place for place, name in enumerate(dict.fromkeys([*self.names, *shown]))}
        self.person = np.array([number[name] for name in shown])[self.probes.labels]
        self.everybody = frozenset(number)

    def first_image(self, name: str) -> str:
        """The path of the first image of somebody in the gallery."""
        person = self.gallery.class_names.index(name)
        return self.paths[int(np.searchsorted(self.gallery.labels, person))]

    def search(self, rows: np.ndarray, distractors: Faces | None, limit: Threshold | None) -> Found:
        """rows: float [N, E], raw embeddings of `paths`. distractors: by negative numbers. limit: what judges.

        Raises InputError where no probe shows a person of the gallery.
        """
        count = len(self.gallery)
        templates = person_templates(rows[:count], self.gallery.labels)
        units = unit_embeddings(rows[count:]).astype(np.float32)
        figures = identify(
            Faces(templates, np.arange(len(templates))),
            Faces(units, self.person),
            distractors,
            images=count,
            threshold=None if limit is None else limit.value,
        )
        known = Gallery(templates.shape[1]).added(self.gallery.class_names, templates)
        found = [
            Searched(path, row) for path, row in zip(self.paths[count:], hits(known, units, TOP, limit), strict=True)
        ]
        return Found(figures, found)
