"""Two photographs compared."""

from __future__ import annotations

import dataclasses

import numpy as np

from adaptface_jax.api.photographs import Photograph
from adaptface_jax.api.rule import Rule
from adaptface_jax.evaluation.distances import pair_distances
from adaptface_jax.evaluation.embedding import Embeddings
from adaptface_jax.evaluation.likelihood import Likelihood
from adaptface_jax.evaluation.risk import Risk
from adaptface_jax.evaluation.thresholds import Threshold


@dataclasses.dataclass(frozen=True)
class PairDecision:
    """Whether two photographs show the same person.

    similarity: cosine of the two unit embeddings, -1..1. squared_distance: 2 - 2 * similarity, 0..4.
    same: whether the squared distance is below the threshold. threshold: its value, FAR and benchmark. note: the
    threshold's caveat, one line, or None. risk: what the threshold accepts falsely; likelihood: how much likelier the
    distance is for one person than for two, by a benchmark's pairs; None if unknown.
    photographs: the two, and how each was cropped. gates: float32 [2, K], gate_names: K of them; None and () without
    DA-LoRA.

    >>> import adaptface_jax as af, numpy as np
    >>> image = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    >>> decision = af.open("builtin", image_size=28).verify(image, image, threshold=1.2)
    >>> decision.same, round(decision.similarity, 4), decision.threshold
    (True, 1.0, Threshold(value=1.2, far=None, benchmark=None))
    """

    similarity: float
    squared_distance: float
    same: bool
    threshold: Threshold
    note: str | None
    risk: Risk | None
    likelihood: Likelihood | None
    photographs: tuple[Photograph, Photograph]
    gates: np.ndarray | None
    gate_names: tuple[str, ...]


def decide(photographs: tuple[Photograph, Photograph], found: Embeddings, rule: Rule) -> PairDecision:
    """The decision on two embedded photographs, by a rule as it applies to their model (`Rule.applied`)."""
    distance = float(pair_distances(found.embedding, found.flipped)[0])
    return PairDecision(
        similarity=1 - distance / 2,
        squared_distance=distance,
        same=distance < rule.threshold.value,
        threshold=rule.threshold,
        note=rule.note,
        risk=rule.risk,
        likelihood=rule.calibration.of(distance) if rule.calibration else None,
        photographs=photographs,
        gates=found.gate,
        gate_names=() if found.gate is None else rule.gate_names(found.gate.shape[1]),
    )
