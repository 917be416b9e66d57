"""A verification benchmark: images and the pairs drawn from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

FOLDS = 10  # contiguous, where a protocol names none of its own


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """Pairs in protocol order over images that are each held (and later embedded) once.

    images: M encoded (bytes) or decoded (uint8 [H, W, 3]) images.
    index: int32 [2N]; pair i compares images[index[2i]] with images[index[2i + 1]].
    issame: bool [N]. description: one line, form and place.
    keys: a name for each image, for messages and reports; None: its number.
    fold: int32 [N] or None, the fold of each pair where the protocol says it; else contiguous tenths are.
    pair_domain: int32 [N] or None, the true domain of each pair where the source knows it.
    image_domain: int32 [M] or None, the true domain of each image, UNKNOWN_DOMAIN where unknown.
    domain_names: names of the domains 0..K-1, empty where unknown.
    """

    images: Sequence[bytes | np.ndarray]
    index: np.ndarray
    issame: np.ndarray
    description: str
    pair_domain: np.ndarray | None = None
    image_domain: np.ndarray | None = None
    domain_names: tuple[str, ...] = ()
    keys: Sequence[str] | None = None
    fold: np.ndarray | None = None
