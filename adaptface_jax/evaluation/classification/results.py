"""The results of a classification run: one tree of dataclasses, which is its `results.json`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from adaptface_jax.core.json_io import from_plain, read_json, to_json
from adaptface_jax.models.recognizer import ParameterCount
from adaptface_jax.training.classification.facts import ClassifierFacts


@dataclasses.dataclass(frozen=True)
class LabelScore:
    """The scores of one class, or one attribute, against the rest.

    images: how many truly have it. accuracy: share of correct decisions about it. precision, recall, f1: as in
    scikit-learn, 0 for 0 / 0.
    """

    images: int
    accuracy: float
    precision: float
    recall: float
    f1: float


@dataclasses.dataclass(frozen=True)
class SplitResult:
    """The metrics of a classifier on one split.

    loss: mean cross-entropy in nats (of attributes: mean over them). accuracy: correct classes, or correct attribute
    decisions. macro_f1: mean of the labels' F1. exact_match: images with all attributes correct; None for classes.
    labels: name of the class or attribute -> its scores, in the model's order. confusion: [C][C], counts of images by
    true class (row) and predicted class; empty for attributes. checkpoint: the step that was evaluated.
    """

    images: int
    loss: float
    accuracy: float
    macro_f1: float
    labels: dict[str, LabelScore]
    confusion: tuple[tuple[int, ...], ...] = ()
    exact_match: float | None = None
    checkpoint: int | None = None


@dataclasses.dataclass(frozen=True)
class BaselineScore:
    """The scores on a split of a baseline that knows nothing of the images, or only their pixels."""

    accuracy: float
    macro_f1: float


@dataclasses.dataclass(frozen=True)
class ClassificationResults:
    """validation, test: the best checkpoint on each; test once it was requested.

    baselines: split -> "majority", "random", "logistic regression on pixels" -> its scores. distribution: split ->
    label -> share of the images that have it.
    """

    validation: SplitResult
    test: SplitResult | None = None
    baselines: dict[str, dict[str, BaselineScore]] = dataclasses.field(default_factory=dict)
    distribution: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    run: ClassifierFacts | None = None
    parameters: tuple[ParameterCount, ...] = ()
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    reported: str | None = None

    def to_json(self) -> str:
        """The text of `results.json`."""
        return to_json(self, indent=2) + "\n"


def read_classification(path: Path) -> ClassificationResults:
    """The results in a file; raises InputError if it contains none."""
    return from_plain(read_json(path), ClassificationResults, str(path))
