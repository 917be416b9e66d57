"""Face verification from embeddings, by the LFW protocol.

Huang et al., "Labeled Faces in the Wild", 2007, in the form that InsightFace's evaluation gave it: ten
contiguous folds, squared Euclidean distances of unit embeddings, thresholds on a grid.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from adaptface_jax.errors import InputError
from adaptface_jax.evaluation.roc import FAR_TARGETS, roc_curve

THRESHOLDS = np.arange(0, 4, 0.01)


@dataclasses.dataclass(frozen=True)
class Verification:
    """The figures of one benchmark; rates and accuracies are fractions.

    accuracy, accuracy_std: mean and population standard deviation of `fold_accuracies`.
    threshold: mean of the folds' thresholds, a squared distance of unit embeddings in 0..4.
    best_threshold_accuracy: at the one threshold that suits all pairs best, chosen on these same pairs:
      an upper bound, not comparable with `accuracy`.
    auc, eer: area under the exact ROC, and its equal error rate.
    tar_at_far: target FAR -> TAR, None ("n/a") where under 10 false accepts are expected.
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

    def to_json(self) -> dict[str, Any]:
        """The same under the same names, FAR targets written as "1e-3"."""
        fields = dataclasses.asdict(self)
        fields["fold_accuracies"] = list(self.fold_accuracies)
        fields["tar_at_far"] = {f"{far:.0e}".replace("e-0", "e-"): tar for far, tar in self.tar_at_far.items()}
        return fields


@dataclasses.dataclass(frozen=True)
class DomainVerification:
    """What one domain's pairs got from the thresholds of the whole benchmark; `auc` None where one kind is absent."""

    accuracy: float
    auc: float | None
    pairs: int

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def verify(
    embeddings: np.ndarray, issame: np.ndarray, flipped: np.ndarray | None = None, folds: int = 10
) -> Verification:
    """Verifies pairs of raw embeddings.

    The threshold of a fold is the first maximum of the other folds' accuracy on the grid 0, 0.01 .. 3.99;
    a pair is accepted where its distance is below it.

    Args:
      embeddings: float [2N, D], not normalised; pair i is rows 2i and 2i + 1, in the order of the protocol.
      issame: bool [N]. flipped: float [2N, D], of the mirror images, or None.
      folds: contiguous, sizes differing by at most one.

    Raises:
      InputError: wrong shapes, values that are not finite, zero embeddings, fewer pairs than folds,
        or pairs of one kind only.
    """
    distances, issame = _checked(embeddings, issame, flipped, folds)
    judged = _judge(distances, issame, folds)
    accuracies = judged.fold_accuracies
    roc = roc_curve(distances, issame)
    return Verification(
        accuracy=float(accuracies.mean()),
        accuracy_std=float(accuracies.std()),
        fold_accuracies=tuple(accuracies.tolist()),
        best_threshold_accuracy=roc.best_accuracy(),
        threshold=float(judged.fold_thresholds.mean()),
        auc=roc.auc(),
        eer=roc.eer(),
        tar_at_far={far: roc.tar_at_far(far) for far in FAR_TARGETS},
        pairs=len(issame),
    )


def verify_by_domain(
    embeddings: np.ndarray,
    issame: np.ndarray,
    pair_domain: np.ndarray,
    names: tuple[str, ...],
    flipped: np.ndarray | None = None,
    folds: int = 10,
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
    distances, issame = _checked(embeddings, issame, flipped, folds)
    pair_domain = np.asarray(pair_domain)
    if pair_domain.shape != issame.shape or not np.issubdtype(pair_domain.dtype, np.integer):
        raise InputError(
            f"pair_domain: {pair_domain.dtype} of shape {pair_domain.shape} for {len(issame)} pairs; "
            "expected one integer a pair"
        )
    if pair_domain.min() < -1 or pair_domain.max() >= len(names):
        raise InputError(
            f"pair_domain: values {pair_domain.min()}..{pair_domain.max()} for {len(names)} names; "
            f"expected -1..{len(names) - 1}"
        )
    right = _judge(distances, issame, folds).right
    result = {}
    for domain, name in enumerate(names):
        members = pair_domain == domain
        if not members.any():
            continue
        genuine = issame[members]
        both = genuine.any() and not genuine.all()
        result[name] = DomainVerification(
            accuracy=float(right[members].mean()),
            auc=roc_curve(distances[members], genuine).auc() if both else None,
            pairs=int(members.sum()),
        )
    return result


def pair_distances(embeddings: np.ndarray, flipped: np.ndarray | None = None) -> np.ndarray:
    """Squared Euclidean distances of unit embeddings, float64 [N] in 0..4.

    The flip test sums the raw embeddings of an image and its mirror image and normalises the sum.

    Args: `embeddings` and `flipped` as in `verify`. Raises InputError as it does.
    """
    points = _embeddings("embeddings", embeddings)
    if flipped is not None:
        mirrored = _embeddings("flipped", flipped)
        if mirrored.shape != points.shape:
            raise InputError(f"flipped: shape {mirrored.shape}; expected that of the embeddings, {points.shape}")
        points = points + mirrored
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    if not lengths.all():
        row = int(np.argmin(lengths))
        raise InputError(f"embeddings: row {row} is zero (after the flip sum, if any); it has no direction to compare")
    points = points / lengths
    return np.square(points[0::2] - points[1::2]).sum(axis=1)


@dataclasses.dataclass(frozen=True)
class _Judgement:
    """right: bool [N], each pair judged at its fold's threshold. Per fold: float64 [folds]."""

    right: np.ndarray
    fold_accuracies: np.ndarray
    fold_thresholds: np.ndarray


def _judge(distances: np.ndarray, issame: np.ndarray, folds: int) -> _Judgement:
    members = np.array_split(np.arange(len(issame)), folds)
    right_counts = np.stack([_right_counts(distances[rows], issame[rows]) for rows in members])
    # Counts rank the thresholds as accuracies do, and are exact, so that "first maximum" is well defined.
    others = right_counts.sum(axis=0) - right_counts
    thresholds = THRESHOLDS[np.argmax(others, axis=1)]
    pair_threshold = np.repeat(thresholds, [len(rows) for rows in members])
    right = (distances < pair_threshold) == issame
    accuracies = np.array([right[rows].mean() for rows in members])
    return _Judgement(right, accuracies, thresholds)


def _right_counts(distances: np.ndarray, issame: np.ndarray) -> np.ndarray:
    """How many pairs each threshold judges rightly, int [len(THRESHOLDS)]."""
    genuine, impostor = np.sort(distances[issame]), np.sort(distances[~issame])
    accepted = np.searchsorted(genuine, THRESHOLDS, side="left")  # distance < threshold
    return accepted + len(impostor) - np.searchsorted(impostor, THRESHOLDS, side="left")


def _checked(
    embeddings: np.ndarray, issame: np.ndarray, flipped: np.ndarray | None, folds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Distances and truth, both [N], of arguments that fit together."""
    distances = pair_distances(embeddings, flipped)
    truth = np.asarray(issame)
    if truth.shape != distances.shape:
        raise InputError(
            f"issame: shape {truth.shape} for {2 * len(distances)} embeddings; expected {distances.shape}, one a pair"
        )
    if not np.isin(truth, (0, 1)).all():
        raise InputError("issame: holds values other than true and false; expected booleans")
    truth = truth.astype(bool)
    if not 1 <= folds <= len(truth):
        raise InputError(f"folds: {folds} for {len(truth)} pairs; expected 1..{len(truth)} (the protocol has 10)")
    if truth.all() or not truth.any():
        kind = "genuine" if truth.all() else "impostor"
        raise InputError(f"issame: all {len(truth)} pairs are {kind}; expected both kinds")
    return distances, truth


def _embeddings(name: str, values: np.ndarray) -> np.ndarray:
    try:
        points = np.asarray(values).astype(np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name}: not an array of numbers; expected floats of shape [2N, D]") from None
    if points.ndim != 2 or len(points) % 2 or not points.size:
        raise InputError(f"{name}: shape {points.shape}; expected [2N, D], rows 2i and 2i + 1 a pair")
    if not np.isfinite(points).all():
        row = int(np.argmax(~np.isfinite(points).all(axis=1)))
        raise InputError(f"{name}: row {row} holds a value that is not finite")
    return points
