"""What a classifier has to beat: answers that look at no image, and a linear model of the pixels."""

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
from adaptface_jax.data.record import Images, Source
from adaptface_jax.evaluation.classification.metrics import accuracy, macro_f1
from adaptface_jax.evaluation.classification.results import BaselineScore

MAJORITY, RANDOM, PIXELS = "majority", "random", "logistic regression on pixels"
PIXEL_SIZE = 32  # pixels of the images that the linear model sees: 3,072 numbers each
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
        result[name] = {MAJORITY: baseline_score(source, most), RANDOM: baseline_score(source, drawn)}
    return result


def pixel_baselines(train: Source, others: Mapping[str, Source]) -> dict[str, dict[str, BaselineScore]]:
    """Split -> a logistic regression on PIXEL_SIZE pixels of the training images -> its scores."""
    seen = pixels(train)
    targets = train.labels if train.multi_label else train.labels[:, None]
    models = [_fitted(seen, column) for column in targets.T]
    result = {}
    for name, source in others.items():
        rows = pixels(source)
        guess = np.stack([model.predict(rows) for model in models], axis=1)
        result[name] = {PIXELS: baseline_score(source, guess if train.multi_label else guess[:, 0])}
    return result


def baseline_score(source: Source, guess: np.ndarray) -> BaselineScore:
    """guess: int, as the source's labels."""
    return BaselineScore(accuracy(source.labels, guess), macro_f1(source.labels, guess, source.num_classes))


def pixels(source: Source) -> np.ndarray:
    """float32 [N, PIXEL_SIZE * PIXEL_SIZE * 3], 0 to 1."""
    images = Images(source)
    batches = evaluation_batches(images, 256, PIXEL_SIZE, keys=images.keys)
    rows = np.concatenate([batch[:count] for batch, count in batches])
    return rows.reshape(len(rows), -1).astype(np.float32) / 255


def _fitted(rows: np.ndarray, target: np.ndarray) -> Any:
    if len(np.unique(target)) == 1:
        return DummyClassifier().fit(rows, target)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=ROUNDS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # after ROUNDS it is as good as it gets
        return model.fit(rows, target)
