"""The likelihood ratio of a distance, one person against two, estimated from a benchmark's pairs."""

from __future__ import annotations

import dataclasses

import numpy as np
from sklearn.isotonic import IsotonicRegression

from adaptface_jax.evaluation.risk import counted


@dataclasses.dataclass(frozen=True)
class Likelihood:
    """ratio: how many times likelier the distance is for one person than for two. limit: "at least" or "at most" if it
    is beyond what the benchmark's pairs can resolve, else "". low, high: the ratios between which they can."""

    ratio: float
    limit: str
    low: float
    high: float

    def __str__(self) -> str:
        more = self.ratio >= 1
        kinds = ("one person", "two people") if more else ("two people", "one person")
        limit = self.limit if more else {"at most": "at least"}.get(self.limit, self.limit)
        times = f"{limit} {counted(self.ratio if more else 1 / self.ratio)}".strip()
        ends = f"{counted(1 / self.low)} times for two people, {counted(self.high)} times for one"
        return (
            f"{self.ratio:.3g}: such a distance is {times} times as likely for {kinds[0]} as for {kinds[1]} (the "
            f"benchmark's pairs can resolve up to {ends})"
        )


class Calibration:
    """Likelihood ratios of squared distances: pool adjacent violators (Zadrozny and Elkan, 2002) with one pair of the
    other kind added at either end, which bounds them by the number of pairs (Brümmer and du Preez, 2013).

    Args: distances: float [N], squared. issame: bool [N], both kinds present.
    """

    def __init__(self, distances: np.ndarray, issame: np.ndarray) -> None:
        ends = distances.max() + 1e-6, distances.min() - 1e-6
        truth = np.append(issame.astype(float), (1.0, 0.0))
        self._prior = truth.mean() / (1 - truth.mean())
        self._share = IsotonicRegression(increasing=False, out_of_bounds="clip").fit(np.append(distances, ends), truth)

    def of(self, distance: float) -> Likelihood:
        """The likelihood of one squared distance."""
        low, high = (self._ratio(self._share.f_(end)) for end in (self._share.X_max_, self._share.X_min_))
        ratio = self._ratio(self._share.predict([distance])[0])
        limit = "at least" if ratio >= high else "at most" if ratio <= low else ""
        if low == high:  # uninformative pairs: all distances are equally likely for both kinds
            limit = ""
        return Likelihood(ratio, limit, low, high)

    def _ratio(self, share: float) -> float:
        return float(share / (1 - share) / self._prior)
