"""How much likelier a distance is of one person than of two, as a benchmark's pairs tell it."""

from __future__ import annotations

import dataclasses

import numpy as np
from sklearn.isotonic import IsotonicRegression

from adaptface_jax.evaluation.risk import counted


@dataclasses.dataclass(frozen=True)
class Likelihood:
    """ratio: how many times likelier the distance is of one person than of two. limit: "at least" or "at most" where it
    lies beyond what the benchmark's pairs can tell, else "". low, high: the ratios between which they can."""

    ratio: float
    limit: str
    low: float
    high: float

    def __str__(self) -> str:
        more = self.ratio >= 1
        kinds = ("one person", "two people") if more else ("two people", "one person")
        limit = self.limit if more else {"at most": "at least"}.get(self.limit, self.limit)
        times = f"{limit} {counted(self.ratio if more else 1 / self.ratio)}".strip()
        ends = f"{counted(1 / self.low)} times of two people, {counted(self.high)} times of one"
        return (
            f"{self.ratio:.3g}: such a distance is {times} times as likely of {kinds[0]} as of {kinds[1]} (the "
            f"benchmark's pairs can tell up to {ends})"
        )


class Calibration:
    """Likelihood ratios of squared distances: pool adjacent violators (Zadrozny and Elkan, 2002) with one pair of the
    other kind put at either end, which bounds them by how many pairs there are (Brümmer and du Preez, 2013).

    Args: distances: float [N], squared. issame: bool [N], both kinds present.
    """

    def __init__(self, distances: np.ndarray, issame: np.ndarray) -> None:
        ends = distances.max() + 1e-6, distances.min() - 1e-6
        truth = np.append(issame.astype(float), (1.0, 0.0))
        self._prior = truth.mean() / (1 - truth.mean())
        self._share = IsotonicRegression(increasing=False, out_of_bounds="clip").fit(np.append(distances, ends), truth)

    def of(self, distance: float) -> Likelihood:
        """Of one squared distance."""
        low, high = (self._ratio(self._share.f_(end)) for end in (self._share.X_max_, self._share.X_min_))
        ratio = self._ratio(self._share.predict([distance])[0])
        limit = "at least" if ratio >= high else "at most" if ratio <= low else ""
        if low == high:  # pairs that tell nothing: all distances are as likely of either kind
            limit = ""
        return Likelihood(ratio, limit, low, high)

    def _ratio(self, share: float) -> float:
        return float(share / (1 - share) / self._prior)
