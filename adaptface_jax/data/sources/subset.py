# SPDX-License-Identifier: Apache-2.0
"""The first part of a training set (`data.max_identities`, `data.max_per_identity`)."""

from __future__ import annotations

import numpy as np

from adaptface_jax.data.record import Source
from adaptface_jax.data.sources.selection import Selection


class Subset(Selection):
    """The first identities of a source and the first images of each, in the source's order; a `Source`."""

    def __init__(self, source: Source, max_identities: int | None, max_per_identity: int | None):
        labels = source.labels
        keep = np.ones(len(labels), bool)
        if max_identities is not None:
            keep &= labels < max_identities
        if max_per_identity is not None:
            keep &= _rank_within(labels) < max_per_identity
        limits = (("identities", max_identities), ("images of each", max_per_identity))
        kept = ", ".join(f"first {limit} {what}" for what, limit in limits if limit is not None)
        super().__init__(source, np.flatnonzero(keep), kept)
        self.class_names = source.class_names[:max_identities]


def _rank_within(labels: np.ndarray) -> np.ndarray:
    """How many records of the same label come before each record."""
    order = np.argsort(labels, kind="stable")
    first = np.searchsorted(labels[order], labels[order])
    rank = np.empty_like(order)
    rank[order] = np.arange(len(labels)) - first
    return rank
