"""What a classifier has to beat: predictions that ignore the image, and a linear model of the pixels."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from adaptface_jax.data.pipeline import evaluation_batches
from adaptface_jax.data.readable import Readable
from adaptface_jax.data.record import Source
from adaptface_jax.evaluation.classification.metrics import accuracy, macro_f1
from adaptface_jax.evaluation.classification.results import BaselineScore

MAJORITY, RANDOM, PIXELS = "majority", "random", "logistic regression on pixels"
PIXEL_SIZE = 32  # side of the images that the linear model sees: 3,072 values each
ROUNDS = 200


def blind_baselines(train: Source, others: Mapping[str, Source], seed: int) -> dict[str, dict[str, BaselineScore]]:
    """Split -> "majority" (of the training labels) and "random" (uniform, drawn from `seed`) -> its scores."""
    result = {}
    for name, source in others.items():
        shape = source.labels.shape
        if train.multi_label:
            most = np.broadcast_to((train.labels.mean(axis=0) >= 0.5).astype(np.int32), shape)
            drawn = np.random.default_rng(seed).integers(0, 2, shape)
        else:
            most = np.full(shape, np.bincount(train.labels, minlength=train.num_classes).argmax())
            drawn = np.random.default_rng(seed).integers(0, train.num_classes, shape)
        classes = source.num_classes
        result[name] = {
            MAJORITY: baseline_score(source.labels, most, classes),
            RANDOM: baseline_score(source.labels, drawn, classes),
        }
    return result


def pixel_baselines(train: Source, others: Mapping[str, Source], skip_bad: bool) -> dict[str, dict[str, BaselineScore]]:
    """Split -> a logistic regression on PIXEL_SIZE pixels of the training images -> its scores.

    skip_bad: skip images that cannot be read; else they raise InputError.
    """
    seen, labels = pixels(train, skip_bad)
    targets = labels if train.multi_label else labels[:, None]
    models = [_fitted(seen, column) for column in targets.T]
    result = {}
    for name, source in others.items():
        rows, labels = pixels(source, skip_bad)
        guess = np.stack([model.predict(rows) for model in models], axis=1)
        guess = guess if train.multi_label else guess[:, 0]
        result[name] = {PIXELS: baseline_score(labels, guess, source.num_classes)}
    return result


def baseline_score(labels: np.ndarray, guess: np.ndarray, classes: int) -> BaselineScore:
    """labels, guess: int, of the same shape."""
    return BaselineScore(accuracy(labels, guess), macro_f1(labels, guess, classes))


def pixels(source: Source, skip_bad: bool) -> tuple[np.ndarray, np.ndarray]:
    """float32 [N, PIXEL_SIZE * PIXEL_SIZE * 3], 0 to 1, of the images that can be read, and their labels."""
    images = Readable.of(source, strict=not skip_bad)
    batches = evaluation_batches(images, 256, PIXEL_SIZE, keys=images.keys)
    rows = np.concatenate([batch[:count] for batch, count in batches])
    read = images.read()
    return rows[read].reshape(int(read.sum()), -1).astype(np.float32) / 255, source.labels[read]


def _fitted(rows: np.ndarray, target: np.ndarray) -> Any:
    if len(np.unique(target)) == 1:
        return DummyClassifier().fit(rows, target)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=ROUNDS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # after ROUNDS it is good enough
        return model.fit(rows, target)
