"""What a model computes from images: embeddings to compare, and what they were made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np

from adaptface_jax.evaluation.distances import unit_embeddings
from adaptface_jax.evaluation.embedding import Embeddings
from adaptface_jax.models.recognizer import Recognizer


@dataclasses.dataclass(frozen=True)
class Faces:
    """N images embedded, in the order they were given.

    embeddings: float32 [N, E], unit length, to compare: with the flip test the sum of the raw embeddings of image and
      mirror image, scaled to unit length. `embeddings @ embeddings.T` are the cosine similarities s; thresholds apply
      to the squared distance, 2 - 2 s.
    raw: float32 [N, E], of the images without flip, not normalized: what the `embed` command writes.
    features: float32 [N, d], before the head. gates: float32 [N, K], rows that sum to 1; None without DA-LoRA.
    paths: N of them, None for images that came as pixels.

    >>> import adaptface_jax as af, numpy as np
    >>> images = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    >>> faces = af.open("builtin", image_size=28).embed(images)
    >>> len(faces), faces.embeddings.dtype, faces.gates, faces.paths
    (3, dtype('float32'), None, (None, None, None))
    >>> bool(np.allclose(np.linalg.norm(faces.embeddings, axis=1), 1))
    True
    """

    embeddings: np.ndarray
    raw: np.ndarray
    features: np.ndarray
    gates: np.ndarray | None
    paths: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.embeddings)

    @classmethod
    def of(cls, found: Embeddings, paths: Sequence[str | None]) -> Self:
        """From the model's output; raises InputError if that is not finite."""
        units = unit_embeddings(found.embedding, found.flipped).astype(np.float32)
        return cls(units, found.embedding, found.feature, found.gate, tuple(paths))

    @classmethod
    def joined(cls, parts: Sequence[Self], recognizer: Recognizer) -> Self:
        """Parts concatenated; without any part, no faces of this recognizer."""
        experts = recognizer.num_domains
        widths = {"embeddings": recognizer.embedding_dim, "raw": recognizer.embedding_dim}
        widths |= {"features": recognizer.feature_dim} | ({"gates": experts} if experts else {})
        arrays = {
            name: np.concatenate([np.empty((0, width), np.float32), *(getattr(part, name) for part in parts)])
            for name, width in widths.items()
        }
        paths = tuple(path for part in parts for path in part.paths)
        return cls(arrays["embeddings"], arrays["raw"], arrays["features"], arrays.get("gates"), paths)
