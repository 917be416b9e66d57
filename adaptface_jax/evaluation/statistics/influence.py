"""The influence of each pair on a metric's deviation from its expectation (Hampel, "The influence curve", 1974).

All functions take distances, float64 [N], small for similar pairs, and issame, bool [N] with both kinds present, and
return float64 [N] that sums to 0 over the genuine pairs and over the impostor pairs: the count of each is fixed.
"""

from __future__ import annotations

import math

import numpy as np


def of_rate(values: np.ndarray, issame: np.ndarray) -> np.ndarray:
    """Influence on the mean of the pairs' values, such as whether they were decided correctly."""
    result = np.zeros(len(values))
    for kind in (issame, ~issame):
        if kind.any():
            result[kind] = values[kind] - values[kind].mean()
    return result / len(values)


def of_auc(distances: np.ndarray, issame: np.ndarray) -> np.ndarray:
    """Influence on the area under the ROC: the pairs' placements (DeLong, DeLong and Clarke-Pearson, 1988).

    The placement of a genuine pair is the share of the impostor pairs that are farther, that of an impostor pair the
    share of the genuine pairs that are closer, ties counting half; the mean of either kind is the area.
    """
    result = np.zeros(len(distances))
    for kind, sign in ((issame, -1), (~issame, 1)):
        others = np.sort(distances[~kind])
        nearer = sum(np.searchsorted(others, distances[kind], side) for side in ("left", "right")) / (2 * len(others))
        result[kind] = sign * (nearer - nearer.mean()) / len(nearer)
    return result


def of_tar(distances: np.ndarray, issame: np.ndarray, far: float) -> np.ndarray:
    """Influence on the share of genuine pairs accepted where a share `far` of the impostor pairs is."""
    impostors = np.sort(distances[~issame])
    accepted = math.floor(far * len(impostors) + 1e-9)
    genuine, impostor = _rates_around(distances, issame, impostors, accepted)
    by_kind = _by_kind(distances < impostors[min(accepted, len(impostors) - 1)], issame)
    return np.where(issame, by_kind, -by_kind * genuine / impostor)


def of_eer(distances: np.ndarray, issame: np.ndarray, eer: float) -> np.ndarray:
    """Influence on the equal error rate, `eer`."""
    impostors = np.sort(distances[~issame])
    accepted = round(eer * len(impostors))
    genuine, impostor = _rates_around(distances, issame, impostors, accepted)
    by_kind = _by_kind(distances < impostors[min(accepted, len(impostors) - 1)], issame)
    return np.where(issame, -by_kind * impostor, by_kind * genuine) / (genuine + impostor)


def _by_kind(accepted: np.ndarray, issame: np.ndarray) -> np.ndarray:
    """Influence on the rate at which the kind of each pair is accepted."""
    result = np.empty(len(accepted))
    for kind in (issame, ~issame):
        result[kind] = (accepted[kind] - accepted[kind].mean()) / np.count_nonzero(kind)
    return result


def _rates_around(
    distances: np.ndarray, issame: np.ndarray, impostors: np.ndarray, accepted: int
) -> tuple[float, float]:
    """Shares of the genuine and of the impostor pairs around the threshold: their ratio is the ROC's slope.

    The neighborhood is two standard errors of a count of independent pairs, and at least four pairs (as in Woodruff's
    intervals of quantiles, 1952).
    """
    reach = max(4, math.ceil(2 * math.sqrt(accepted)))
    last = len(impostors) - 1
    low, high = (impostors[min(max(accepted + step, 0), last)] for step in (-reach, reach))
    genuine, impostor = (np.mean((kind >= low) & (kind < high)) for kind in (distances[issame], impostors))
    return float(genuine), max(float(impostor), 1 / len(impostors))
