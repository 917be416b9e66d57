"""A classifier's metrics on one split, as scikit-learn defines them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import log_softmax
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

from adaptface_jax.evaluation.classification.results import LabelScore, SplitResult


def predicted(logits: np.ndarray, multi_label: bool) -> np.ndarray:
    """int32: classes [N], or attributes [N, A] of 0 and 1 (a logit above 0)."""
    return (logits > 0).astype(np.int32) if multi_label else logits.argmax(axis=1).astype(np.int32)


def split_result(
    logits: np.ndarray, labels: np.ndarray, names: Sequence[str], checkpoint: int | None = None
) -> SplitResult:
    """logits: float [N, C]. labels: int [N] classes, or [N, C] of 0 and 1. names: of the C classes or attributes."""
    multi_label = labels.ndim == 2
    guess = predicted(logits, multi_label)
    return SplitResult(
        images=len(labels),
        loss=mean_loss(logits.astype(np.float64), labels),
        accuracy=accuracy(labels, guess),
        macro_f1=macro_f1(labels, guess, len(names)),
        labels=label_scores(labels, guess, names),
        confusion=() if multi_label else _confusion(labels, guess, len(names)),
        exact_match=float(accuracy_score(labels, guess)) if multi_label else None,
        checkpoint=checkpoint,
    )


def mean_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy in nats; for attributes the mean over all of them."""
    if labels.ndim == 1:
        return float(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())
    return float((np.logaddexp(0, logits) - labels * logits).mean())


def accuracy(labels: np.ndarray, guess: np.ndarray) -> float:
    """The share of correct classes, or of correct attribute decisions."""
    return float(accuracy_score(labels.ravel(), guess.ravel()))


def macro_f1(labels: np.ndarray, guess: np.ndarray, count: int) -> float:
    """The mean F1 of the classes or attributes; 0 for one that neither occurs nor is predicted."""
    if labels.ndim == 2:
        return float(f1_score(labels, guess, average="macro", zero_division=0))
    return float(f1_score(labels, guess, labels=np.arange(count), average="macro", zero_division=0))


def label_scores(labels: np.ndarray, guess: np.ndarray, names: Sequence[str]) -> dict[str, LabelScore]:
    """Each class or attribute against the rest."""
    which = None if labels.ndim == 2 else np.arange(len(names))
    precision, recall, f1, support = precision_recall_fscore_support(labels, guess, labels=which, zero_division=0)
    result = {}
    for i, name in enumerate(names):
        true, said = (labels[:, i] > 0, guess[:, i] > 0) if labels.ndim == 2 else (labels == i, guess == i)
        result[name] = LabelScore(
            images=int(support[i]),
            accuracy=float(np.mean(true == said)),
            precision=float(precision[i]),
            recall=float(recall[i]),
            f1=float(f1[i]),
        )
    return result


def _confusion(labels: np.ndarray, guess: np.ndarray, count: int) -> tuple[tuple[int, ...], ...]:
    return tuple(map(tuple, confusion_matrix(labels, guess, labels=np.arange(count)).tolist()))


def scalars(result: SplitResult, split: str) -> dict[str, float]:
    """The metrics as TensorBoard tags: eval/validation/loss, eval/validation/macro_f1, eval/validation/f1/NAME ..."""
    tags = {f"eval/{split}/{name}": getattr(result, name) for name in ("loss", "accuracy", "macro_f1")}
    if result.exact_match is not None:
        tags[f"eval/{split}/exact_match"] = result.exact_match
    return tags | {f"eval/{split}/f1/{name}": entry.f1 for name, entry in result.labels.items()}


def score(result: SplitResult, metric: str) -> float:
    """The score that chooses the best checkpoint, the higher the better."""
    return -result.loss if metric == "loss" else float(getattr(result, metric))
