"""Face verification from embeddings, by the LFW protocol.

Huang et al., "Labeled Faces in the Wild", 2007, in the form that InsightFace's evaluation gave it: ten
contiguous folds, squared Euclidean distances of unit embeddings, thresholds on a grid.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.benchmarks.benchmark import FOLDS
from adaptface_jax.evaluation.distances import pair_distances
from adaptface_jax.evaluation.folds import Folds, FoldTable, fold_of_each
from adaptface_jax.evaluation.roc import FAR_TARGETS, roc_curve
from adaptface_jax.evaluation.statistics.distributions import ScoreStatistics, d_prime
from adaptface_jax.evaluation.statistics.intervals import Interval, Intervals, intervals


@dataclasses.dataclass(frozen=True)
class Verification:
    """The figures of one benchmark; rates and accuracies are fractions.

    accuracy, accuracy_std: mean and population standard deviation of `fold_accuracies`.
    threshold: mean of the folds' thresholds, a squared distance of unit embeddings in 0..4.
    best_threshold_accuracy: at the one threshold that suits all pairs best, chosen on these same pairs:
      an upper bound, not comparable with `accuracy`.
    auc, eer: area under the exact ROC, and its equal error rate.
    tar_at_far: target FAR -> TAR, None ("n/a") where under 10 false accepts are expected.
    intervals: of accuracy, auc and tar_at_far, 95%, by bootstrap; they hold the luck of the pairs, not of training.
    d_prime: distance of the two kinds' mean scores in units of their pooled standard deviation.
    genuine, impostor: statistics of the scores, cosine similarities in -1..1.
    """

    accuracy: float
    accuracy_std: float
    fold_accuracies: tuple[float, ...]
    best_threshold_accuracy: float
    threshold: float
    auc: float
    eer: float
    tar_at_far: dict[float, float | None]
    pairs: int
    intervals: Intervals
    d_prime: float | None
    genuine: ScoreStatistics
    impostor: ScoreStatistics

    def to_json(self) -> dict[str, Any]:
        """The same under the same names, FAR targets written as "1e-3", intervals as [low, high]."""
        fields = dataclasses.asdict(self)
        fields["fold_accuracies"] = list(self.fold_accuracies)
        fields["tar_at_far"] = {far_name(far): tar for far, tar in self.tar_at_far.items()}
        fields["intervals"] = {
            "accuracy": list(self.intervals.accuracy),
            "auc": list(self.intervals.auc),
            "tar_at_far": {far_name(far): _listed(both) for far, both in self.intervals.tar_at_far.items()},
        }
        return fields


@dataclasses.dataclass(frozen=True)
class DomainVerification:
    """What one domain's pairs got from the thresholds of the whole benchmark; `auc` None where one kind is absent."""

    accuracy: float
    auc: float | None
    pairs: int

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Decisions:
    """What the protocol decides: each pair at the threshold of its fold.

    accepted, right: bool [N]. fold_accuracies, fold_thresholds: float64 [F].
    """

    accepted: np.ndarray
    right: np.ndarray
    fold_accuracies: np.ndarray
    fold_thresholds: np.ndarray


def verify(
    embeddings: np.ndarray,
    issame: np.ndarray,
    flipped: np.ndarray | None = None,
    folds: Folds = FOLDS,
) -> Verification:
    """Verifies pairs of raw embeddings.

    The threshold of a fold is the first maximum of the other folds' accuracy on the grid 0, 0.01 .. 3.99;
    a pair is accepted where its distance is below it.

    Args:
      embeddings: float [2N, D], not normalised; pair i is rows 2i and 2i + 1, in the order of the protocol.
      issame: bool [N]. flipped: float [2N, D], of the mirror images, or None.
      folds: as in `fold_of_each`.

    Raises:
      InputError: wrong shapes, values that are not finite, zero embeddings, fewer pairs than folds,
        or pairs of one kind only.
    """
    return figures(pair_distances(embeddings, flipped), issame, folds)


def figures(distances: np.ndarray, issame: np.ndarray, folds: Folds = FOLDS) -> Verification:
    """`verify` from squared distances, float [N], as `pair_distances` gives them."""
    truth, fold = _checked(distances, issame, folds)
    decided = _decide(distances, truth, fold)
    accuracies = decided.fold_accuracies
    roc = roc_curve(distances, truth)
    accuracy, auc = float(accuracies.mean()), roc.auc()
    tar_at_far = {far: roc.tar_at_far(far) for far in FAR_TARGETS}
    scores = 1.0 - distances / 2.0
    return Verification(
        accuracy=accuracy,
        accuracy_std=float(accuracies.std()),
        fold_accuracies=tuple(accuracies.tolist()),
        best_threshold_accuracy=roc.best_accuracy(),
        threshold=float(decided.fold_thresholds.mean()),
        auc=auc,
        eer=roc.eer(),
        tar_at_far=tar_at_far,
        pairs=len(truth),
        intervals=intervals(distances, truth, fold, accuracy, auc, tar_at_far),
        d_prime=d_prime(scores[truth], scores[~truth]),
        genuine=ScoreStatistics.of(scores[truth]),
        impostor=ScoreStatistics.of(scores[~truth]),
    )


def decisions(distances: np.ndarray, issame: np.ndarray, folds: Folds = FOLDS) -> Decisions:
    """What becomes of every pair. Arguments and InputError as in `figures`."""
    return _decide(distances, *_checked(distances, issame, folds))


def verify_by_domain(
    embeddings: np.ndarray,
    issame: np.ndarray,
    pair_domain: np.ndarray,
    names: tuple[str, ...],
    flipped: np.ndarray | None = None,
    folds: Folds = FOLDS,
) -> dict[str, DomainVerification]:
    """`verify`, told apart by domain: each pair is judged at its fold's threshold, as in the overall accuracy.

    So the domains are compared at one operating point, which is what a user of the model has, and the
    overall accuracy is their mean weighted by size where folds are equal.

    Args:
      pair_domain: int [N], 0..K-1, or -1 for pairs of no known domain (left out). names: the K names.
      The others as in `verify`.

    Returns: name -> figures, in the order of `names`, without the domains that have no pair.

    Raises InputError as `verify`, and where `pair_domain` does not fit.
    """
    return figures_by_domain(pair_distances(embeddings, flipped), issame, pair_domain, names, folds)


def figures_by_domain(
    distances: np.ndarray,
    issame: np.ndarray,
    pair_domain: np.ndarray,
    names: tuple[str, ...],
    folds: Folds = FOLDS,
) -> dict[str, DomainVerification]:
    """`verify_by_domain` from squared distances, float [N]."""
    truth, fold = _checked(distances, issame, folds)
    pair_domain = np.asarray(pair_domain)
    if pair_domain.shape != truth.shape or not np.issubdtype(pair_domain.dtype, np.integer):
        raise InputError(
            f"pair_domain: {pair_domain.dtype} of shape {pair_domain.shape} for {len(truth)} pairs; "
            "expected one integer a pair"
        )
    if pair_domain.min() < -1 or pair_domain.max() >= len(names):
        raise InputError(
            f"pair_domain: values {pair_domain.min()}..{pair_domain.max()} for {len(names)} names; "
            f"expected -1..{len(names) - 1}"
        )
    right = _decide(distances, truth, fold).right
    result = {}
    for domain, name in enumerate(names):
        members = pair_domain == domain
        if not members.any():
            continue
        genuine = truth[members]
        both = genuine.any() and not genuine.all()
        result[name] = DomainVerification(
            accuracy=float(right[members].mean()),
            auc=roc_curve(distances[members], genuine).auc() if both else None,
            pairs=int(members.sum()),
        )
    return result


def far_name(far: float) -> str:
    """1e-3, as files and tables write it."""
    return f"{far:.0e}".replace("e-0", "e-")


def _listed(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _decide(distances: np.ndarray, issame: np.ndarray, fold: np.ndarray) -> Decisions:
    once = [np.ones((1, np.count_nonzero(kind)), np.int32) for kind in (issame, ~issame)]
    (accuracies,), (thresholds,) = FoldTable(distances, issame, fold).judge(*once)
    accepted = distances < thresholds[fold]
    return Decisions(accepted, accepted == issame, accuracies, thresholds)


def _checked(distances: np.ndarray, issame: np.ndarray, folds: Folds) -> tuple[np.ndarray, np.ndarray]:
    """The truth, bool [N], and the fold of each pair, int [N] in 0..F-1, of arguments that fit together."""
    truth = np.asarray(issame)
    if truth.shape != distances.shape:
        raise InputError(
            f"issame: shape {truth.shape} for {2 * len(distances)} embeddings; expected {distances.shape}, one a pair"
        )
    if not np.isin(truth, (0, 1)).all():
        raise InputError("issame: holds values other than true and false; expected booleans")
    truth = truth.astype(bool)
    fold = fold_of_each(folds, len(truth))
    if truth.all() or not truth.any():
        kind = "genuine" if truth.all() else "impostor"
        raise InputError(f"issame: all {len(truth)} pairs are {kind}; expected both kinds")
    return truth, fold
