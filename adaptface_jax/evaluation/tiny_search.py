"""TinyFace: every image of the gallery is one row, and so is every distractor."""

from __future__ import annotations

import numpy as np

from adaptface_jax.data.benchmarks.tinyface import TinyFace
from adaptface_jax.evaluation.distances import unit_embeddings
from adaptface_jax.evaluation.identification import Identification, identify
from adaptface_jax.evaluation.search import Faces


def search_tinyface(rows: np.ndarray, benchmark: TinyFace, further: Faces | None = None) -> Identification:
    """The metrics. rows: float32 [M, E], raw embeddings. further: more distractors, with negative numbers.

    Raises InputError if no probe's person is in the gallery, and for zero embeddings.
    """
    units = unit_embeddings(rows).astype(np.float32)
    ends = np.cumsum(benchmark.counts)
    gallery, probes, distractors = (
        Faces(units[end - count : end], benchmark.person[end - count : end])
        for end, count in zip(ends, benchmark.counts, strict=True)
    )
    if further is not None:
        distractors = Faces(
            np.concatenate([distractors.units, further.units]),
            np.concatenate([distractors.person, further.person - benchmark.counts[2]]),
        )
    return identify(gallery, probes, distractors if len(distractors.person) else None)
