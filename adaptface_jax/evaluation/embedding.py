"""Images through the recogniser in batches, the host decoding ahead of the device."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from adaptface_jax.data.augmentation.augment import preprocess
from adaptface_jax.data.pipeline import evaluation_batches
from adaptface_jax.distributed.mesh import sharding
from adaptface_jax.distributed.processes import place_rows, process_rows, several
from adaptface_jax.models.recognizer import Recognizer


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """float32 arrays, a row per image: embedding [M, E], not normalised; flipped [M, E] or None, of the mirror
    images; feature [M, d], before the head; gate [M, K] or None."""

    embedding: np.ndarray
    feature: np.ndarray
    flipped: np.ndarray | None
    gate: np.ndarray | None


class Embedder:
    """Embeds any number of images with one compiled function; the last batch is padded."""

    def __init__(self, recognizer: Recognizer, mesh: Mesh, batch_size: int) -> None:
        self._function = make_embed(recognizer, mesh)
        self._rows = sharding(mesh, "batch")
        self._batch_size = -(-batch_size // mesh.size) * mesh.size
        self._mine = process_rows(self._batch_size, jax.process_index(), jax.process_count())

    def __call__(
        self,
        frozen: Any,
        trainable: Any,
        images: Sequence[bytes | np.ndarray],
        flip: bool = True,
        keys: Sequence[str] | None = None,
    ) -> Embeddings:
        """Raises InputError for an image that cannot be decoded, named by its key (default: its number)."""
        parts: list[dict[str, np.ndarray]] = []
        pending: tuple[dict[str, jax.Array], int] | None = None
        for batch, rows in evaluation_batches(images, self._batch_size, keys=keys, rows=self._mine):
            result = self._function(frozen, trainable, place_rows(batch, self._rows), flip)
            # Read one batch behind, so that the device never waits for the host.
            if pending is not None:
                parts.append(fetch(*pending))
            pending = (result, rows)
        if pending is not None:
            parts.append(fetch(*pending))
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return Embeddings(joined["embedding"], joined["feature"], joined.get("flipped"), joined.get("gate"))


def fetch(arrays: dict[str, jax.Array], rows: int) -> dict[str, np.ndarray]:
    """The real rows of a batch's results, on the host."""
    return {name: np.asarray(value[:rows], np.float32) for name, value in jax.device_get(arrays).items()}


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
        in_shardings=(replicated, None, rows),
        # Of several processes each must be able to read every row.
        out_shardings=replicated if several() else rows,
    )
