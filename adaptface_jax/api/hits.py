"""The people in a gallery that a face is most similar to."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from adaptface_jax.api.gallery import Gallery
from adaptface_jax.evaluation.thresholds import Threshold


@dataclasses.dataclass(frozen=True)
class Hit:
    """One person found. similarity: cosine with that person's template, -1..1. same: whether the squared distance
    2 - 2 * similarity is below the threshold; None if none is known.

    >>> import adaptface_jax as af
    >>> print(af.Hit("anna", 0.75, True))
    Hit(name='anna', similarity=0.75, same=True)
    """

    name: str
    similarity: float
    same: bool | None


def hits(gallery: Gallery, units: np.ndarray, top: int, limit: Threshold | None) -> Iterator[tuple[Hit, ...]]:
    """The `top` people most similar to each face, best first. units: float32 [P, E]; limit: None decides nothing."""
    for row in zip(*(found.tolist() for found in gallery.nearest(units, top)), strict=True):
        yield tuple(
            Hit(gallery.name(number), similarity, None if limit is None else 2 - 2 * similarity < limit.value)
            for similarity, number in zip(*row, strict=True)
        )
