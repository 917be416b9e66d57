"""The distribution of the scores of genuine and impostor pairs."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclasses.dataclass(frozen=True)
class ScoreStatistics:
    """mean, population std, and quantiles ("0.5": the median) of the scores of one kind of pair; pairs: how many."""

    pairs: int
    mean: float
    std: float
    quantiles: dict[str, float]

    @classmethod
    def of(cls, scores: np.ndarray) -> ScoreStatistics:
        """scores: float [N], at least one."""
        found = np.quantile(scores, QUANTILES).tolist()
        quantiles = {f"{share:g}": value for share, value in zip(QUANTILES, found, strict=True)}
        return cls(len(scores), float(scores.mean()), float(scores.std()), quantiles)


def d_prime(genuine: np.ndarray, impostor: np.ndarray) -> float | None:
    """(mean genuine - mean impostor) / sqrt((var + var) / 2), Daugman's decidability with its sign.

    None if neither kind varies.
    """
    spread = math.sqrt((genuine.var() + impostor.var()) / 2)
    return float((genuine.mean() - impostor.mean()) / spread) if spread > 0 else None
