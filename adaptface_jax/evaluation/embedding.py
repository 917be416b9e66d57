# SPDX-License-Identifier: Apache-2.0
"""Embeds images in batches, the host decoding ahead of the device."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Self

import jax
import numpy as np
from jax.sharding import Mesh

from adaptface_jax.core.progress import Progress
from adaptface_jax.data.augmentation.augment import preprocess
from adaptface_jax.data.pipeline import STORED_SIZE, evaluation_batches
from adaptface_jax.distributed.compiler import transformer_options
from adaptface_jax.distributed.mesh import sharding
from adaptface_jax.distributed.passes import passes
from adaptface_jax.distributed.processes import place_rows, process_rows, several
from adaptface_jax.models.adapters.several import WHICH
from adaptface_jax.models.recognizer import Recognizer


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """float32 arrays, one row per image: embedding [M, E], not normalized; flipped [M, E] or None, of the mirror
    images; feature [M, d], before the head; gate [M, K] or None."""

    embedding: np.ndarray
    feature: np.ndarray
    flipped: np.ndarray | None
    gate: np.ndarray | None

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The concatenation of parts, at least one."""

        def of(name: str) -> np.ndarray | None:
            arrays = [getattr(part, name) for part in parts]
            return None if arrays[0] is None else np.concatenate(arrays)

        return cls(*(of(field.name) for field in dataclasses.fields(cls)))  # type: ignore[arg-type]

    def of(self, rows: np.ndarray) -> Self:
        """The rows of some images, bool [M] or int [N]."""
        arrays = (getattr(self, field.name) for field in dataclasses.fields(self))
        return type(self)(*(None if array is None else array[rows] for array in arrays))  # type: ignore[arg-type]


class Window(NamedTuple):
    """Images, the keys that name them in errors (None: their number), and how many threads decode them."""

    images: Sequence[bytes | np.ndarray]
    keys: Sequence[str] | None = None
    threads: int | None = None


class Embedder:
    """Embeds any number of images; all forward passes have the same number of rows, so the last one is padded.

    The function is compiled once per number of rows, and the last bits of an image's values depend on that number
    (a different shape sums in a different order), never on the other images. Threads may share an Embedder.
    """

    def __init__(self, recognizer: Recognizer, mesh: Mesh, batch_size: int, stored_size: int = STORED_SIZE) -> None:
        """stored_size: pixels at which images are sent to the device, where they are resized to the model's size."""
        self._function = make_embed(recognizer, mesh)
        self._mesh, self._stored_size = mesh, stored_size
        self.batch_size = -(-batch_size // mesh.size) * mesh.size

    def __call__(
        self,
        frozen: Any,
        trainable: Any,
        images: Sequence[bytes | np.ndarray],
        flip: bool = True,
        keys: Sequence[str] | None = None,
    ) -> Embeddings:
        """Raises InputError for an image that cannot be decoded, named by its key (default: its number)."""
        return Embeddings.joined(list(self._parts(frozen, trainable, images, flip, keys)))

    def summed(
        self,
        frozen: Any,
        trainable: Any,
        images: Sequence[bytes | np.ndarray],
        flip: bool = True,
        keys: Sequence[str] | None = None,
    ) -> np.ndarray:
        """The same, but only the raw embeddings plus those of the mirror images, float32 [M, E]."""
        result, done = np.empty((0, 0), np.float32), 0
        for part in self._parts(frozen, trainable, images, flip, keys):
            if not done:
                result = np.empty((len(images), part.embedding.shape[1]), np.float32)
            rows = result[done : (done := done + len(part.embedding))]
            rows[:] = part.embedding if part.flipped is None else part.embedding + part.flipped
        return result

    def _parts(
        self,
        frozen: Any,
        trainable: Any,
        images: Sequence[bytes | np.ndarray],
        flip: bool,
        keys: Sequence[str] | None,
    ) -> Iterator[Embeddings]:
        done = 0
        with Progress(len(images), label="embedding", unit="image", brief=True) as progress:
            for part in self.batches(frozen, trainable, [Window(images, keys)], flip):
                yield part
                progress.show(done := done + len(part.embedding))

    def batches(
        self,
        frozen: Any,
        trainable: Any,
        windows: Iterable[Window],
        flip: bool,
        rows: int | None = None,
        which: Iterator[np.ndarray] | None = None,
    ) -> Iterator[Embeddings]:
        """The same for each forward pass as it completes, over windows of images that are requested in sequence.

        rows: of a forward pass, from `rows_for`; None for the batch size. which: if `trainable` has several models,
        the number of each row's model, int32 [rows], pass by pass (`models.adapters.several`).
        """
        rows = rows or self.batch_size
        mine = process_rows(rows, jax.process_index(), jax.process_count())
        batches = (
            batch
            for images, keys, threads in windows
            for batch in evaluation_batches(images, rows, self._stored_size, keys=keys, rows=mine, threads=threads)
        )

        def function(batch: jax.Array) -> dict[str, jax.Array]:
            own = {} if which is None else {WHICH: place_rows(next(which), sharding(self._mesh, "batch"))}
            return self._function(frozen, trainable | own, batch, flip)

        for found, count in passes(function, batches, self._mesh):
            yield fetch(found, count)

    def rows_for(self, count: int) -> int:
        """The smallest power of two that fits `count` images, at most the batch size, evenly over the devices."""
        least = max(1 << (count - 1).bit_length(), self._mesh.size)
        return min(-(-least // self._mesh.size) * self._mesh.size, self.batch_size)


def fetch(arrays: dict[str, jax.Array], rows: int) -> Embeddings:
    """The real rows of a batch's results, on the host."""
    found = {name: np.asarray(value[:rows], np.float32) for name, value in jax.device_get(arrays).items()}
    return Embeddings(found["embedding"], found["feature"], found.get("flipped"), found.get("gate"))


def make_embed(recognizer: Recognizer, mesh: Mesh) -> Callable[..., dict[str, jax.Array]]:
    """embed(frozen, trainable, images uint8 [B, H, W, 3], flip) -> embedding [B, E], flipped [B, E], feature, gate.

    Embeddings are raw. `flip` is static; without it there is no `flipped`.
    """

    def embed(frozen: Any, trainable: Any, images: jax.Array, flip: bool) -> dict[str, jax.Array]:
        pixels = preprocess(images, recognizer.config.backbone.image_size, recognizer.spec.stats, recognizer.dtype)
        out = recognizer.embed(frozen, trainable, pixels)
        result = {"embedding": out.embedding, "feature": out.feature}
        if out.gate is not None:
            result["gate"] = out.gate
        if flip:
            result["flipped"] = recognizer.embed(frozen, trainable, pixels[:, :, ::-1]).embedding
        return result

    replicated, rows = sharding(mesh), sharding(mesh, "batch")
    return jax.jit(
        embed,
        static_argnums=(3,),
        in_shardings=(None, None, rows),
        # With several processes, each must be able to read every row.
        out_shardings=replicated if several() else rows,
        compiler_options=transformer_options(recognizer.dtype),
    )
