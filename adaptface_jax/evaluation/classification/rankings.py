"""Which labels a classifier recognizes best and worst, and which classes it confuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from adaptface_jax.evaluation.classification.results import ClassificationResults, LabelScore, SplitResult
from adaptface_jax.evaluation.markdown_tables import percent

Row = TypeVar("Row")

# A matrix of numbers is readable for this many classes. This many labels are shown one by one; of more, the first and
# the last EXTREMES.
READABLE, MANY, EXTREMES = 20, 40, 10


class Confused(NamedTuple):
    """Images of one class that were predicted as another: how many, and their share of the true class."""

    true: str
    predicted: str
    images: int
    share: float


def judged(results: ClassificationResults) -> tuple[str, SplitResult]:
    """The split that nothing was chosen on, "test", if it was evaluated; else "validation"."""
    return ("test", results.test) if results.test else ("validation", results.validation)


def splits(results: ClassificationResults) -> dict[str, SplitResult]:
    """Every split that was evaluated, validation first."""
    return {"validation": results.validation} | ({"test": results.test} if results.test else {})


def kind_of_label(split: SplitResult) -> tuple[str, str]:
    """The name of a label, singular and plural."""
    return ("class", "classes") if split.exact_match is None else ("attribute", "attributes")


def by_f1(labels: Mapping[str, LabelScore]) -> list[str]:
    """The labels' names, the best F1 first; ties in the model's order."""
    return sorted(labels, key=lambda name: -labels[name].f1)


def label_rows(results: ClassificationResults, names: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Titles and a row for each of these labels, on the split of `judged`; as strings, for tables of any format."""
    split, found = judged(results)
    rows = []
    for name in names:
        score = found.labels[name]
        figures = [percent(value) for value in (score.f1, score.precision, score.recall, score.accuracy)]
        if split == "test":
            before = results.validation.labels.get(name)
            figures.append(percent(before.f1 if before else None))
        rows.append([name, f"{score.images:,}", *figures])
    titles = [kind_of_label(found)[0], "images", "F1", "precision", "recall", "accuracy"]
    return [*titles, *(["F1, validation"] if split == "test" else [])], rows


def confused_rows(split: SplitResult) -> tuple[list[str], list[list[str]]]:
    """Titles and a row for each of the most confused pairs of classes, none if every image is correct."""
    pairs = most_confused(split.confusion, list(split.labels))
    rows = [[pair.true, pair.predicted, f"{pair.images:,}", percent(pair.share)] for pair in pairs]
    return ["true class", "predicted as", "images", "share of the class"], rows


def extremes(rows: Sequence[Row], most: int = MANY) -> tuple[Sequence[Row], int]:
    """The rows to show, and how many are omitted between the first and the last EXTREMES of them."""
    if len(rows) <= most:
        return rows, 0
    return [*rows[:EXTREMES], *rows[-EXTREMES:]], len(rows) - 2 * EXTREMES


def most_confused(confusion: Sequence[Sequence[int]], names: Sequence[str], count: int = 10) -> list[Confused]:
    """The pairs of a true and a wrong predicted class with the most images, at least one; ties by their share.

    confusion: [C][C], images by true class (row) and predicted class.
    """
    images = np.array(confusion)
    share = shares(images)
    wrong = np.argwhere((images > 0) & ~np.eye(len(images), dtype=bool))
    order = sorted(wrong.tolist(), key=lambda at: (-images[*at], -share[*at]))[:count]
    return [Confused(names[i], names[j], int(images[i, j]), float(share[i, j])) for i, j in order]


def shares(confusion: np.ndarray) -> np.ndarray:
    """Each row divided by its sum, float64 [C, C]; zeros if a class has no image."""
    return confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
