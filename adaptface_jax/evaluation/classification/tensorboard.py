"""An evaluation of a classifier in TensorBoard: the confusion matrix, and samples of the augmentation."""

from __future__ import annotations

import math

import numpy as np

from adaptface_jax.evaluation.classification.plots import confusion_figure
from adaptface_jax.evaluation.classification.results import SplitResult
from adaptface_jax.training.monitor import Monitor

# The custom scalars of a classification run: validation next to the blind baselines.
STORY = {
    "The run": {
        "macro F1 on validation": [r"eval/validation/macro_f1$", r"baseline/validation/[^/]+/macro_f1$"],
        "accuracy on validation": [r"eval/validation/accuracy$", r"baseline/validation/[^/]+/accuracy$"],
        "loss": [r"train/loss$", r"eval/validation/loss$"],
        "F1 of each label": [r"eval/validation/f1/.+$"],
    },
    "Training": {
        "learning rate": [r"train/learning_rate$"],
        "gradient norm": [r"train/grad_norm$"],
        "images per second": [r"train/images_per_second$"],
    },
}
GAP = 4  # pixels between two samples


def confusion(monitor: Monitor, step: int, result: SplitResult, split: str) -> None:
    """The confusion matrix of classes; attributes have none."""
    if result.confusion:
        monitor.figure(step, f"eval/{split}/confusion", confusion_figure(result.confusion, list(result.labels)))


def pictures(monitor: Monitor, step: int, before: np.ndarray, after: np.ndarray) -> None:
    """Samples as stored and, to the right of each, as augmented; for runs that log images.

    before, after: uint8 [N, S, S, 3].
    """
    monitor.picture(step, "samples/augmentation", side_by_side(before, after))


def side_by_side(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """One image, uint8 [H, W, 3], of pairs in about as many rows as columns, on white."""
    count, size = before.shape[:2]
    columns = max(1, math.ceil(math.sqrt(count / 2)))
    rows = math.ceil(count / columns)
    high, wide = size + GAP, 2 * size + GAP
    result = np.full((rows * high - GAP, columns * wide - GAP, 3), 255, np.uint8)
    for i, pair in enumerate(np.concatenate([before, after], axis=2)):
        top, left = i // columns * high, i % columns * wide
        result[top : top + size, left : left + 2 * size] = pair
    return result
