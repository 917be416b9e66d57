"""A verification benchmark: images and the pairs drawn from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

FOLDS = 10  # if a list names none; `evaluation.folds` assigns them
NO_DOMAIN = -1  # of a pair


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """Pairs in protocol order over images that are each stored (and later embedded) once.

    images: M encoded (bytes) or decoded (uint8 [H, W, 3]) images.
    index: int32 [2N]; pair i compares images[index[2i]] with images[index[2i + 1]].
    issame: bool [N]. description: one line, format and location.
    keys: a name for each image, for messages and reports; None: its number.
    fold: int32 [N], the fold of each pair if the list assigns it; None: `evaluation.folds` does.
    pair_domain: int32 [N] or None, the category that the list assigns to a pair: 0..P-1 in `pair_names`, or NO_DOMAIN.
    image_domain: uint8 [M, K] or None, 1 for each condition of an image; a row of zeros: nothing is known.
    person: int32 [M] or None, the person in each image, any integers, if the source knows it.
    domain_names: of the K conditions. A pair's domain implies nothing about its two images.
    """

    images: Sequence[bytes | np.ndarray]
    index: np.ndarray
    issame: np.ndarray
    description: str
    pair_domain: np.ndarray | None = None
    pair_names: tuple[str, ...] = ()
    image_domain: np.ndarray | None = None
    domain_names: tuple[str, ...] = ()
    keys: Sequence[str] | None = None
    fold: np.ndarray | None = None
    person: np.ndarray | None = None

    def pairs_of_domains(self) -> tuple[np.ndarray, tuple[str, ...]]:
        """Which pairs are in which domain, bool [N, D], and the D names: as the list assigns them, or else those with
        an image in the condition, so that a pair of two conditions counts in both."""
        if self.pair_domain is not None:
            return self.pair_domain[:, None] == np.arange(len(self.pair_names)), self.pair_names
        if self.image_domain is None:
            return np.zeros((len(self.issame), 0), bool), ()
        holds = self.image_domain.astype(bool)[self.index]
        return holds[::2] | holds[1::2], self.domain_names
