"""Face verification from embeddings, by the LFW protocol.

Huang et al., "Labeled Faces in the Wild", 2007, in the form of InsightFace's evaluation: ten
folds (`folds` says which), squared Euclidean distances of unit embeddings, thresholds on a grid.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.evaluation.distances import pair_distances
from adaptface_jax.evaluation.folds import Folds, fold_of_each, judge_folds
from adaptface_jax.evaluation.roc import FAR_TARGETS, far_name, roc_curve
from adaptface_jax.evaluation.statistics.distributions import ScoreStatistics, d_prime
from adaptface_jax.evaluation.statistics.intervals import Intervals, SubsetIntervals, intervals, subset_intervals
from adaptface_jax.evaluation.statistics.jackknife import People
from adaptface_jax.evaluation.statistics.people import people_of


@dataclasses.dataclass(frozen=True)
class Verification:
    """The metrics of one benchmark; rates and accuracies are fractions.

    accuracy, accuracy_std: mean and population standard deviation of `fold_accuracies`.
    threshold: mean of the folds' thresholds, a squared distance of unit embeddings in 0..4.
    best_threshold_accuracy: at the one threshold that is best for all pairs, chosen on these same pairs:
      an upper bound, not comparable with `accuracy`.
    auc, eer: area under the exact ROC, and its equal error rate.
    tar_at_far: name of the target FAR ("1e-3") -> TAR, None ("n/a") if under 10 false accepts are expected.
    intervals: of accuracy, auc, eer and tar_at_far, 95%; over the choice of people, not over training.
    d_prime: distance of the two kinds' mean scores in units of their pooled standard deviation.
    genuine, impostor: statistics of the scores, cosine similarities in -1..1.
    """

    accuracy: float
    accuracy_std: float
    best_threshold_accuracy: float
    threshold: float
    auc: float
    eer: float
    tar_at_far: dict[str, float | None]
    pairs: int
    fold_accuracies: tuple[float, ...] = ()
    intervals: Intervals | None = None
    d_prime: float | None = None
    genuine: ScoreStatistics | None = None
    impostor: ScoreStatistics | None = None


@dataclasses.dataclass(frozen=True)
class DomainVerification:
    """The metrics of one domain's pairs at the thresholds of the whole benchmark; `auc` None if one kind is absent."""

    accuracy: float
    auc: float | None
    pairs: int
    intervals: SubsetIntervals | None = None


@dataclasses.dataclass(frozen=True)
class JudgedPairs:
    """The protocol's decisions on pairs, each at the threshold of its fold; all metrics are computed from them.

    distances: float64 [N]. issame, accepted: bool [N]. fold: int [N], 0..F-1.
    fold_accuracies, fold_thresholds: float64 [F]. index: int [2N], the images of pair i at 2i and 2i + 1.
    person: int [M], of each image, from `people_of`.
    """

    distances: np.ndarray
    issame: np.ndarray
    fold: np.ndarray
    accepted: np.ndarray
    fold_accuracies: np.ndarray
    fold_thresholds: np.ndarray
    index: np.ndarray
    person: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Whether the decision was correct, bool [N]."""
        return self.accepted == self.issame


def verify(
    embeddings: np.ndarray,
    issame: np.ndarray,
    flipped: np.ndarray | None = None,
    folds: Folds = None,
) -> Verification:
    """Verifies pairs of raw embeddings.

    The threshold of a fold is the first maximum of the other folds' accuracy on the grid 0, 0.01 .. 3.99;
    a pair is accepted where its distance is below it.

    Args:
      embeddings: float [2N, D], not normalized; pair i is rows 2i and 2i + 1, in the order of the protocol.
      issame: bool [N]. flipped: float [2N, D], of the mirror images, or None.
      folds: as in `fold_of_each`.

    Raises:
      InputError: wrong shapes, non-finite values, zero embeddings, more folds than pairs, fewer than two pairs
        of a kind.
    """
    return compute_metrics(judge_pairs(pair_distances(embeddings, flipped), issame, folds))


def judge_pairs(
    distances: np.ndarray,
    issame: np.ndarray,
    folds: Folds = None,
    index: np.ndarray | None = None,
    person: np.ndarray | None = None,
) -> JudgedPairs:
    """The decisions on pairs with these squared distances, float [N], from `pair_distances`.

    index, person: as in `people_of`; no index: every image is in one pair only.
    Raises InputError as `verify`.
    """
    truth, fold = _checked(distances, issame, folds)
    accuracies, thresholds = judge_folds(distances, truth, fold)
    images = np.arange(2 * len(truth)) if index is None else index
    found = people_of(images, truth, person)
    return JudgedPairs(distances, truth, fold, distances < thresholds[fold], accuracies, thresholds, images, found)


def compute_metrics(judged: JudgedPairs) -> Verification:
    """The metrics of judged pairs."""
    distances, truth, accuracies = judged.distances, judged.issame, judged.fold_accuracies
    roc = roc_curve(distances, truth)
    accuracy, auc, eer = float(accuracies.mean()), roc.auc(), roc.eer()
    tar_at_far = {far_name(far): roc.tar_at_far(far) for far in FAR_TARGETS}
    scores = 1.0 - distances / 2.0
    return Verification(
        accuracy=accuracy,
        accuracy_std=float(accuracies.std()),
        fold_accuracies=tuple(accuracies.tolist()),
        best_threshold_accuracy=roc.best_accuracy(),
        threshold=float(judged.fold_thresholds.mean()),
        auc=auc,
        eer=eer,
        tar_at_far=tar_at_far,
        pairs=len(truth),
        intervals=intervals(
            distances, truth, judged.right, People(judged.index, truth, judged.person), (accuracy, auc, eer), tar_at_far
        ),
        d_prime=d_prime(scores[truth], scores[~truth]),
        genuine=ScoreStatistics.of(scores[truth]),
        impostor=ScoreStatistics.of(scores[~truth]),
    )


def compute_domain_metrics(
    judged: JudgedPairs, members: np.ndarray, names: tuple[str, ...]
) -> dict[str, DomainVerification]:
    """The metrics by domain: each pair is judged at its fold's threshold, as in the overall accuracy.

    So the domains are compared at one operating point, as in use, and the overall accuracy is their mean weighted by
    size if folds are equal and every pair is in one domain.

    Args:
      members: bool [N, D], which pairs are in which domain; in none, one or several. names: the D names.

    Returns: name -> metrics, in the order of `names`, without the domains that have no pair.

    Raises InputError if `members` does not fit.
    """
    members = np.asarray(members)
    if members.shape != (len(judged.issame), len(names)) or members.dtype != bool:
        raise InputError(
            f"members: {members.dtype} of shape {members.shape}; "
            f"expected booleans, {len(judged.issame)} pairs x {len(names)} domains"
        )
    return {name: subset_metrics(judged, chosen) for name, chosen in zip(names, members.T, strict=True) if chosen.any()}


def subset_metrics(judged: JudgedPairs, chosen: np.ndarray) -> DomainVerification:
    """The metrics of some of the pairs. chosen: bool [N], at least one."""
    distances, genuine, right = judged.distances[chosen], judged.issame[chosen], judged.right[chosen]
    auc = roc_curve(distances, genuine).auc() if genuine.any() and not genuine.all() else None
    people = People(judged.index.reshape(-1, 2)[chosen].ravel(), genuine, judged.person)
    return DomainVerification(
        accuracy=float(right.mean()),
        auc=auc,
        pairs=len(genuine),
        intervals=subset_intervals(distances, genuine, right, people, auc),
    )


def _checked(distances: np.ndarray, issame: np.ndarray, folds: Folds) -> tuple[np.ndarray, np.ndarray]:
    """The truth, bool [N], and the fold of each pair, int [N] in 0..F-1, of matching arguments."""
    truth = np.asarray(issame)
    if truth.shape != distances.shape:
        raise InputError(
            f"issame: shape {truth.shape} for {2 * len(distances)} embeddings; expected {distances.shape}, one per pair"
        )
    if not np.isin(truth, (0, 1)).all():
        raise InputError("issame: contains values other than true and false; expected booleans")
    truth = truth.astype(bool)
    if truth.all() or not truth.any():
        kind = "genuine" if truth.all() else "impostor"
        raise InputError(f"issame: all {len(truth)} pairs are {kind}; expected both kinds")
    return truth, fold_of_each(folds, truth)
