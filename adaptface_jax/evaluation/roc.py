"""The exact ROC of pair distances and its metrics."""

from __future__ import annotations

import dataclasses

import numpy as np

FAR_TARGETS = (1e-1, 1e-2, 1e-3, 1e-4)


def far_name(far: float) -> str:
    """The name of a FAR in files and tables, such as "1e-3"; `float` parses it."""
    return f"{far:.0e}".replace("e-0", "e-")


# Below this many expected false accepts, a TAR at that FAR depends more on luck than on the model.
MIN_FALSE_ACCEPTS = 10


@dataclasses.dataclass(frozen=True)
class Roc:
    """Every operating point of a set of pairs, from accepting none to accepting all.

    far, tar: float64 [T], false and true accept rates, both non-decreasing from 0 to 1; pairs at one
    distance are accepted together. genuine, impostors: the number of pairs of each kind.
    """

    far: np.ndarray
    tar: np.ndarray
    genuine: int
    impostors: int

    def auc(self) -> float:
        """Area under the curve: probability that a genuine pair is closer than an impostor pair, ties counting half."""
        return float(np.trapezoid(self.tar, self.far))

    def eer(self) -> float:
        """The error rate where FAR = 1 - TAR, interpolated linearly between two operating points."""
        gap = self.far + self.tar - 1.0  # from -1 to 1
        right = int(np.argmax(gap >= 0))
        left = right - 1
        share = -gap[left] / (gap[right] - gap[left])
        return float(self.far[left] + share * (self.far[right] - self.far[left]))

    def tar_at_far(self, target: float) -> float | None:
        """The largest TAR whose FAR does not exceed `target`; None if under 10 false accepts are expected."""
        if MIN_FALSE_ACCEPTS / self.impostors > target:
            return None
        return float(self.tar[np.searchsorted(self.far, target, side="right") - 1])

    def best_accuracy(self) -> float:
        """The accuracy at the one threshold that is best for these same pairs: optimistic."""
        right = self.tar * self.genuine + (1.0 - self.far) * self.impostors
        return float(right.max() / (self.genuine + self.impostors))


def roc_curve(distances: np.ndarray, issame: np.ndarray) -> Roc:
    """The ROC over every distinct distance.

    Args:
      distances: float [N], small for similar pairs. issame: bool [N], with both kinds present.
    """
    from sklearn import metrics  # it takes seconds to import, and not every command evaluates pairs

    far, tar, _ = metrics.roc_curve(issame, -distances, drop_intermediate=False)
    genuine = int(np.count_nonzero(issame))
    return Roc(far, tar, genuine, len(issame) - genuine)
