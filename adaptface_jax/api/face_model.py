# SPDX-License-Identifier: Apache-2.0
"""An opened model: images in, embeddings, decisions and galleries out."""

from __future__ import annotations

import collections
import functools
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from jax.sharding import Mesh

from adaptface_jax.align.geometry import CROP_SIZE
from adaptface_jax.api.adapters import Adapters, Choice, Chosen
from adaptface_jax.api.arguments import check_number, check_yes_no, named_in_python
from adaptface_jax.api.faces import Faces
from adaptface_jax.api.fingerprint import fingerprint
from adaptface_jax.api.image_forms import ImageLike, Images
from adaptface_jax.api.index import Index
from adaptface_jax.api.pair import PairDecision, decide
from adaptface_jax.api.photographs import Align, Cropper, Photograph, Photographs, check_align, parts
from adaptface_jax.api.rule import Rule, choose_rule
from adaptface_jax.core.errors import InputError
from adaptface_jax.data.readable import Readable
from adaptface_jax.evaluation.embedding import Embedder, Embeddings, Window
from adaptface_jax.training.recognition.model import Model

PART = 8  # forward passes whose images an iterator is asked for at a time


class FaceModel:
    """A model that `open` opened. Any number of threads may use one at once.

    model: the recognizer and its two trees. mesh: the devices they are on.
    facts: what it is, for output files: {"run", "step", "backbone"}, or {"backbone", "image_size"} of a bare backbone.

    A forward pass is compiled for batch sizes that are powers of two, up to `batch_size`, each when first needed; the
    last pass of many images is padded. An image's values are bit-identical in every pass of one size, whatever the
    other images; another size changes them by about 1e-6.

    >>> import adaptface_jax as af
    >>> model = af.open("builtin", image_size=28)
    >>> model.facts["backbone"]["name"], model.embedding_dim
    ('demo', 128)
    """

    def __init__(self, model: Model, mesh: Mesh, facts: dict[str, Any], results: Path | None, batch_size: int) -> None:
        """results: the file that thresholds are read from, or None."""
        self.model, self.mesh, self.facts = model, mesh, facts
        self.embedder = Embedder(model.recognizer, mesh, batch_size, model.stored_size)
        self._results, self._batch_size, self._process = results, batch_size, os.getpid()
        own = model.stored_size if "run" in facts else CROP_SIZE  # what a run was trained on counts as crops
        self.side_by_side: Adapters | None = None  # where further adapters were asked for
        self._cropper = Cropper(model.stored_size, (CROP_SIZE, own))

    @property
    def embedding_dim(self) -> int:
        """E, the width of the embeddings."""
        return self.model.recognizer.embedding_dim

    @property
    def stored_size(self) -> int:
        """The side in pixels that images are brought to first (a run's `data.stored_size`); more detail is not seen."""
        return self.model.stored_size

    @property
    def seen_as(self) -> dict[str, Any]:
        """What the embeddings of a backbone depend on besides `facts`: {"stored_size", "feature"}."""
        return {"stored_size": self.stored_size, "feature": self.model.recognizer.config.backbone.feature}

    @property
    def flip(self) -> bool:
        """Whether embeddings to compare are summed with those of the mirror images (the model's `eval.flip`)."""
        return self.model.recognizer.config.eval.flip

    @functools.cached_property
    def fingerprint(self) -> str:
        """sha256 of what the embeddings depend on: models that share it can be compared with each other."""
        return fingerprint(self.model)

    @property
    def adapters(self) -> tuple[str, ...]:
        """The runs that `embed(adapters=...)` chooses among, this one first; empty unless `open` was given some."""
        return () if self.side_by_side is None else self.side_by_side.held.names

    def swap(self, old: str | os.PathLike[str], new: str | os.PathLike[str], checkpoint: str | int = "best") -> None:
        """Replace one of `adapters` with another run; nothing is recompiled.

        Raises InputError, and changes nothing, where it has another backbone or does not fit (a greater rank, other
        layers than any of those opened).
        """
        with named_in_python():
            self._several().swap(old, new, checkpoint)

    def _several(self) -> Adapters:
        if self.side_by_side is None:
            raise InputError("adapters: none were opened with this one; name them in open(..., adapters=[...])")
        return self.side_by_side

    def embed(
        self,
        images: Images,
        *,
        flip: bool | None = None,
        align: Align = False,
        pad: bool = False,
        adapters: Chosen | None = None,
    ) -> Faces:
        """Embed any number of images.

        Args:
          images: one image or any iterable of them, also a generator, in one pass: a path, the bytes of a file, a
            Pillow image, or uint8 [H, W, 3], RGB; uint8 [N, H, W, 3] is N images. Also arrays of JAX and torch, files
            open in binary mode, and arrays of paths. OpenCV's BGR is `image[..., ::-1]` here. Whatever their size, they
            are treated as aligned crops, and first resized to `stored_size`.
          flip: whether `Faces.embeddings` are summed with those of the mirror images; None: as the model's thresholds
            were measured (`eval.flip`).
          align: "auto" finds and aligns the largest face of every image that is not 112x112 (or of the size at which a
            run was trained), True of every image; both need the extra `align`.
          pad: always use passes of `batch_size` images, so that an image's bits do not depend on how many come with it:
            `embed(..., flip=False, pad=True).raw` is what the `embed` command writes.
          adapters: the run whose adapter an image gets, a name of `self.adapters` for all or one for each, in one pass
            whatever they are; None: this run's own. Equal to each run by itself to 1e-5.

        Raises InputError for an image that cannot be read or has no face to align, named by its path or number.

        >>> import adaptface_jax as af, numpy as np
        >>> model = af.open("builtin", image_size=28)
        >>> crops = np.random.default_rng(0).integers(0, 256, (5, 112, 112, 3), dtype=np.uint8)
        >>> faces = model.embed(crop for crop in crops)
        >>> faces.embeddings.shape, faces.features.shape
        ((5, 128), (5, 128))
        """
        parts = list(self.embed_batches(images, flip=flip, align=align, pad=pad, adapters=adapters))
        return Faces.joined(parts, self.model.recognizer)

    def embed_batches(
        self,
        images: Images,
        *,
        flip: bool | None = None,
        align: Align = False,
        pad: bool = False,
        adapters: Chosen | None = None,
    ) -> Iterator[Faces]:
        """`embed`, yielding each forward pass as it finishes: for more embeddings than memory holds.

        >>> import adaptface_jax as af, numpy as np
        >>> model = af.open("builtin", image_size=28, batch_size=16)
        >>> [len(faces) for faces in model.embed_batches(np.zeros((20, 112, 112, 3), np.uint8))]
        [16, 4]
        """
        check_align(align)
        check_yes_no(flip=flip or False, pad=pad)
        self._check_process()
        with named_in_python():
            chosen = None if adapters is None else Choice(self._several(), adapters)
        return self._batches(images, self.flip if flip is None else flip, align, pad, chosen)

    def _batches(self, images: Images, flip: bool, align: Align, pad: bool, chosen: Choice | None) -> Iterator[Faces]:
        source = parts(images, PART * self._batch_size, self._cropper, align)
        first = next(source, None)
        if not first:
            return
        paths: collections.deque[str | None] = collections.deque()

        def noted() -> Iterator[Window]:
            for part in itertools.chain([first], source):
                paths.extend(part.paths)
                if chosen is not None:
                    chosen.add(len(part), rows)
                yield Window(part, threads=0 if part.ready else None)

        rows = self.embedder.batch_size if pad else self.embedder.rows_for(len(first))
        if chosen is None:
            batches = self._run(noted(), flip, rows)
        else:
            batches = chosen.embedder.batches(self.model.frozen, chosen.stack, noted(), flip, rows, chosen)
        for found in batches:
            yield Faces.of(found, [paths.popleft() for _ in found.embedding])
        if chosen is not None:
            chosen.end()

    def photographs(self, paths: Sequence[str], align: Align) -> Readable:
        """Photographs in files, some of which may be unreadable or show no face, for `embed_readable`."""
        return Readable(Photographs(paths, self._cropper, align), paths)

    def embed_readable(self, images: Readable) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """A forward pass at a time: unit embeddings to compare, float32 [M, E], of the images that can be read, and
        which images of the pass these are, bool [N].
        """
        start = 0
        for found in self._run(iter([Window(images)]), self.flip, self.embedder.rows_for(len(images))):
            read = images.read(start, start + len(found.embedding))
            start += len(read)
            yield Faces.of(found.of(read), [None] * int(read.sum())).embeddings, read

    def __reduce__(self) -> NoReturn:
        raise InputError("a model cannot be pickled or copied; open it where it is to be used")

    def _check_process(self) -> None:
        """In a forked process JAX would wait forever."""
        if os.getpid() != self._process:
            raise InputError(
                "the model was opened before this process was forked, which JAX does not survive; start processes with "
                "multiprocessing's 'spawn' or 'forkserver', and open it in each"
            )

    def _run(self, windows: Iterator[Window], flip: bool, rows: int | None) -> Iterator[Embeddings]:
        self._check_process()
        return self.embedder.batches(self.model.frozen, self.model.trainable, windows, flip, rows)

    def verify(
        self,
        first: ImageLike,
        second: ImageLike,
        far: float | None = None,
        benchmark: str | None = None,
        threshold: float | None = None,
        *,
        align: Align = "auto",
    ) -> PairDecision:
        """Do two photographs show the same person?

        Args:
          first: an image as in `embed`.
          second: another.
          far: decide at this false accept rate, for which the run measured a threshold; None for the smallest known
            one.
          benchmark: the one it was measured on; None for the first.
          threshold: a squared distance between unit embeddings, 0..4, instead of both.
          align: as in `embed`; 112x112 images are treated as aligned crops, all others are aligned.

        Raises InputError for an image that cannot be read or aligned, and if no threshold is known.

        >>> import adaptface_jax as af, numpy as np
        >>> one, other = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)
        >>> af.open("builtin", image_size=28).verify(one, other, threshold=1e-6).same
        False
        """
        check_align(align)
        rule = self.rule(far, benchmark, threshold)
        return self.compare((self.photograph(first, 0, align), self.photograph(second, 1, align)), rule)

    def photograph(self, image: ImageLike, number: int = 0, align: Align = "auto") -> Photograph:
        """One image as `verify` sees it; number: identifies pixels in errors. Raises InputError as it does."""
        return self._cropper(image, number, align)

    def compare(self, photographs: tuple[Photograph, Photograph], rule: Rule) -> PairDecision:
        """`verify` for photographs that are already read, by a rule that is already chosen."""
        images = [photograph.image for photograph in photographs]
        parts = self._run(iter([Window(images)]), self.flip, self.embedder.rows_for(len(images)))
        return decide(photographs, Embeddings.joined(list(parts)), self.applied(rule))

    def applied(self, rule: Rule) -> Rule:
        """A rule as it applies to this model, with its caveat."""
        return rule.applied(self.facts.get("step"), lambda: self.fingerprint)

    def rule(self, far: float | None = None, benchmark: str | None = None, threshold: float | None = None) -> Rule:
        """How `verify` decides, with the same arguments. Raises InputError if no threshold is known."""
        with named_in_python():
            check_number("--far", far)
            check_number("--threshold", threshold)
            return self.applied(choose_rule(self._results, far, benchmark, threshold))

    def index(self, folder: str | os.PathLike[str] | None = None, *, align: Align = "auto") -> Index:
        """A gallery to search: from a folder with one folder per person, or empty.

        align: as in `verify`, for the people and for the probes.
        Warns of images that cannot be read or aligned, which are left out; raises InputError for a folder without
        people.

        >>> import adaptface_jax as af, numpy as np
        >>> crops = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
        >>> people = af.open("builtin", image_size=28).index()
        >>> people.add("anna", crops[:2])
        >>> people.people
        ['anna']
        """
        check_align(align)
        result = Index(self, align)
        if folder is not None:
            result.add_folder(folder)
        return result

    def load_index(self, folder: str | os.PathLike[str], *, align: Align = "auto") -> Index:
        """The gallery that `Index.save` wrote to a folder.

        Raises InputError if the folder holds none, is corrupted, or has the templates of another model.

        >>> import adaptface_jax as af, numpy as np, tempfile
        >>> model = af.open("builtin", image_size=28)
        >>> people = model.index()
        >>> people.add("anna", np.zeros((112, 112, 3), np.uint8))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     people.save(folder)
        ...     len(model.load_index(folder))
        1
        """
        check_align(align)
        return Index.load(self, folder, align)
