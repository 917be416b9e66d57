# SPDX-License-Identifier: Apache-2.0
"""A gallery of people to search photographs in."""

from __future__ import annotations

import dataclasses
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol

import numpy as np

from adaptface_jax.api.arguments import named_in_python
from adaptface_jax.api.faces import Faces
from adaptface_jax.api.gallery import Gallery
from adaptface_jax.api.hits import Hit, hits
from adaptface_jax.api.image_forms import Images
from adaptface_jax.api.index_files import read_index, write_index
from adaptface_jax.api.photographs import Align
from adaptface_jax.api.rule import Rule, if_known
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural, shown
from adaptface_jax.data.readable import LISTED, Readable
from adaptface_jax.data.sources.folders import FolderSource
from adaptface_jax.evaluation.identification import person_templates
from adaptface_jax.evaluation.thresholds import Threshold


class Embeds(Protocol):
    """What an index needs of a model (`FaceModel`)."""

    facts: dict[str, Any]

    @property
    def fingerprint(self) -> str: ...
    @property
    def seen_as(self) -> dict[str, Any]: ...
    @property
    def embedding_dim(self) -> int: ...
    def embed_batches(self, images: Images, *, align: Align) -> Iterator[Faces]: ...
    def photographs(self, paths: Sequence[str], align: Align) -> Readable: ...
    def embed_readable(self, images: Readable) -> Iterator[tuple[np.ndarray, np.ndarray]]: ...
    def rule(self, far: float | None, benchmark: str | None, threshold: float | None) -> Rule: ...


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """hits: for each image the people most similar to it, best first. threshold: what decided; None if none is
    known.
    note: why it is not known, or its caveat, or None. people: N, in the index. false_hit_chance: that a stranger's
    image matches somebody, 1 - (1 - FAR)^N, which grows with the people in the index, as if the N comparisons were
    independent; None if the threshold was not measured at a FAR with this model.

    >>> import adaptface_jax as af
    >>> found = af.SearchResult(((af.Hit("anna", 0.75, True),),), af.Threshold(1.2, "1e-4", "lfw"), None, 10_000, 0.632)
    >>> found.hits[0][0].name, found.false_hit_chance
    ('anna', 0.632)
    """

    hits: tuple[tuple[Hit, ...], ...]
    threshold: Threshold | None
    note: str | None
    people: int
    false_hit_chance: float | None = None


class Index:
    """People to search, made by `FaceModel.index`: each is one template, the mean of the unit embeddings of all images
    of that person, at unit length.

    The search is exact and on the device, in float32, up to a million people (2 GB at 512 dimensions); for more, `save`
    writes a file that approximate-search libraries read. Any number of threads may search while others add and remove.

    With N people in the index a threshold at FAR f lets a stranger's image match somebody with a chance of about
    1 - (1 - f)^N (`SearchResult.false_hit_chance`): 10,000 people at 1e-4 are 63%. Choose f well below 1 / N.

    >>> import adaptface_jax as af, numpy as np
    >>> crops = np.random.default_rng(0).integers(0, 256, (4, 112, 112, 3), dtype=np.uint8)
    >>> people = af.open("builtin", image_size=28).index()
    >>> people.add("anna", crops[:2])
    >>> people.add("bert", crops[2:])
    >>> found = people.search(crops[2], top=1, threshold=1.2)
    >>> [[hit.name for hit in hits] for hits in found.hits]
    [['bert']]
    >>> people.remove("anna")
    >>> people.people, len(people), "anna" in people
    (['bert'], 1, False)
    """

    def __init__(self, model: Embeds, align: Align = "auto") -> None:
        self._model, self._align = model, align
        self._gallery = Gallery(model.embedding_dim)
        self._number: dict[str, int] = {}
        self._changing = threading.Lock()

    def __len__(self) -> int:
        return len(self._gallery)

    def __contains__(self, name: object) -> bool:
        return name in self._number

    @property
    def people(self) -> list[str]:
        """The names, in the order added; `remove` moves the last one into the place of the one removed."""
        return list(self._gallery.names())

    def add(self, name: str, images: Images) -> None:
        """Add a person, from one or more images (as in `FaceModel.embed`).

        Raises InputError for a name already in the index, no image, and images that cannot be read or aligned.
        """
        self._refuse([name])
        faces = [part.embeddings for part in self._model.embed_batches(images, align=self._align)]
        if not faces:
            raise InputError(f"{shown(name)}: no image; expected at least one per person")
        self._extend([name], person_templates(np.concatenate(faces), np.zeros(sum(map(len, faces)), np.int32)))

    def add_folder(
        self, folder: str | os.PathLike[str], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> None:
        """Add everybody in a folder with one folder of images per person, named by it: all of them or nobody.

        progress: called with the number of images done and the total.
        Warns of images that belong to nobody, of those that cannot be read or aligned, which are left out, and of
        people without a usable image, who are left out too.

        Raises InputError for a folder without people or without an image that can be read and aligned, and for names
        already in the index.
        """
        source = FolderSource(Path(folder))
        if source.skipped_files.images.total():
            warnings.warn(f"{shown(str(folder))}: {source.skipped_files.lines()[0]}", stacklevel=2)
        self._refuse(source.class_names)
        paths = [os.path.join(source.folder, source.key(number)) for number in range(len(source))]
        images = self._model.photographs(paths, self._align)
        rows, owner = np.empty((0, self._gallery.width), np.float32), np.empty(0, np.int32)  # of incomplete people
        people: list[int] = []
        templates, done = [], 0
        for embeddings, read in self._model.embed_readable(images):
            rows = np.concatenate([rows, embeddings])
            owner = np.concatenate([owner, source.labels[done : done + len(read)][read]])
            done += len(read)
            progress(done, len(source))
            whole = owner < (source.labels[done] if done < len(source) else source.num_classes)
            if whole.any():
                numbers, label = np.unique(owner[whole], return_inverse=True)
                templates.append(person_templates(rows[whole], label))
                people += numbers.tolist()
                rows, owner = rows[~whole], owner[~whole]
        images.check_some()
        names = [source.class_names[number] for number in people]
        if lost := sorted(set(source.class_names) - set(names)):
            more = f" and {len(lost) - LISTED:,} more" if len(lost) > LISTED else ""
            said = f"{', '.join(map(shown, lost[:LISTED]))}{more}"
            count = plural(len(lost), "person")
            warnings.warn(f"{count} without a usable image, left out: {said}", stacklevel=2)
        if images.unreadable:
            warnings.warn("\n".join(images.lines("not usable")), stacklevel=2)
        self._extend(names, np.concatenate(templates))

    def remove(self, name: str) -> None:
        """Remove a person. Raises InputError if nobody has that name."""
        with self._changing:
            if name not in self._number:
                raise InputError(f"{shown(str(name))}: not in the index")
            number = self._number.pop(name)
            last = len(self._gallery) - 1
            if number != last:
                self._number[self._gallery.name(last)] = number
            self._gallery = self._gallery.removed(number)

    def search(
        self,
        images: Images,
        top: int = 5,
        far: float | None = None,
        benchmark: str | None = None,
        threshold: float | None = None,
    ) -> SearchResult:
        """The people most similar to each image.

        Args:
          images: as in `FaceModel.embed`.
          top: how many for each image (fewer where the index has fewer).
          far: as in `FaceModel.verify`, as are the next two; where none is given and no threshold is known, nothing is
            decided and `SearchResult.note` says so.
          benchmark: as there.
          threshold: as there.

        Ties come in the order of `people`. Raises InputError for an empty index, for `top` below 1,
        where the threshold asked for is not known, and for images that cannot be read or aligned.
        """
        if not isinstance(top, int | np.integer):
            raise InputError(f"top: {top!r} is not a whole number")
        if top < 1:
            raise InputError(f"top: {top} is out of range; expected at least 1")
        gallery = self._gallery
        if not len(gallery):
            raise InputError("the index is empty; add people first")
        asked = (far, benchmark, threshold) != (None, None, None)
        rule, why = if_known(lambda: self._model.rule(far, benchmark, threshold), asked)
        limit = None if rule is None else rule.threshold
        found = [
            row
            for faces in self._model.embed_batches(images, align=self._align)
            for row in hits(gallery, faces.embeddings, int(top), limit)
        ]
        if rule is None:
            return SearchResult(tuple(found), None, why, len(gallery))
        return SearchResult(tuple(found), limit, rule.note, len(gallery), rule.false_hit_chance(len(gallery)))

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the index to a new folder atomically; `FaceModel.load_index` reads it.

        templates.fbin: int32 N, int32 E, then float32 [N, E], little-endian: for `usearch.io.load_matrix` and others.
        names.jsonl: one JSON string per person, in the same order. manifest.json: the model, and sha256 sums.
        overwrite: replace an index that is in the folder.
        Raises InputError if the folder is a file or holds anything else.
        """
        gallery = self._gallery
        facts = {"model": self._model.fingerprint, "opened": self._model.facts, **self._model.seen_as}
        with named_in_python():
            write_index(Path(folder), gallery, facts, overwrite=overwrite)

    @classmethod
    def load(cls, model: Embeds, folder: str | os.PathLike[str], align: Align) -> Index:
        """See `FaceModel.load_index`."""
        result = cls(model, align)
        result._gallery = read_index(Path(folder), model.fingerprint)
        result._number = {name: number for number, name in enumerate(result._gallery.names())}
        return result

    def __reduce__(self) -> NoReturn:
        raise InputError("an index cannot be pickled or copied; save it, and load it with FaceModel.load_index")

    def _refuse(self, names: Sequence[str]) -> None:
        for name in names:
            if not isinstance(name, str) or not name:
                raise InputError(f"name: {name!r} is not a name; expected text")
            if name in self._number:
                raise InputError(f"{shown(name)}: already in the index; remove it first, then add all its images")

    def _extend(self, names: Sequence[str], templates: np.ndarray) -> None:
        with self._changing:
            self._refuse(names)  # another thread may have added one meanwhile
            start = len(self._gallery)
            self._gallery = self._gallery.added(names, templates)
            self._number |= {name: start + place for place, name in enumerate(names)}
