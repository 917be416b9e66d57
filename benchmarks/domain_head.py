"""The domain head: removes the effect of an image's conditions from its embedding, in closed form.

u = unit(e) - center - sum_k p_k(x) mu_k, then unit(u S^(-1/2)). Everything is fitted on training images: mu, the effect
of each condition, by least squares within people; p by a logistic regression on frozen features; S, the remaining
scatter within people, with a ridge. Measured by domain_variants.py; it did not pay there, so it is not in the package.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

RIDGE = 1.0  # times the mean variance of a direction

# name -> (whether the conditions' effects are removed, whether the rest is whitened)
HEADS = {
    "centered": (False, False),
    "whitened": (False, True),
    "domain means": (True, False),
    "domain head": (True, True),
}


@dataclasses.dataclass(frozen=True)
class TrainingImages:
    """embedding [N, E], not normalized; feature [N, d] of the frozen backbone; person [N]; condition bool [N, K]."""

    embedding: np.ndarray
    feature: np.ndarray
    person: np.ndarray
    condition: np.ndarray


Head = Callable[[np.ndarray, np.ndarray], np.ndarray]  # embedding [M, E], feature [M, d] -> embedding [M, E]


def fit(images: TrainingImages) -> dict[str, Head]:
    """Every head of HEADS."""
    units = unit(images.embedding)
    residual = within_people(units, images.person)
    probes = [
        make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300)).fit(images.feature, column)
        for column in images.condition.T
    ]
    held = images.condition.astype(np.float64)
    deviation = within_people(held, images.person)
    effects = np.linalg.lstsq(deviation, residual, rcond=None)[0]

    def made(means: bool, white: bool) -> Head:
        left = residual - deviation @ effects if means else residual
        turn = inverse_root(left.T @ left / len(left)) if white else None
        center = units.mean(axis=0) - (held.mean(axis=0) @ effects if means else 0.0)

        def head(embedding: np.ndarray, feature: np.ndarray) -> np.ndarray:
            moved = unit(embedding) - center
            if means:
                moved = moved - np.stack([p.predict_proba(feature)[:, 1] for p in probes], axis=1) @ effects
            return moved if turn is None else moved @ turn

        return head

    return {name: made(*parts) for name, parts in HEADS.items()}


def unit(rows: np.ndarray) -> np.ndarray:
    return rows.astype(np.float64) / np.linalg.norm(rows, axis=1, keepdims=True)


def within_people(rows: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Each row minus its person's mean."""
    count = np.bincount(person)
    sums = np.zeros((len(count), rows.shape[1]))
    np.add.at(sums, person, rows)
    return rows - (sums / np.maximum(count, 1)[:, None])[person]


def inverse_root(scatter: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(scatter + RIDGE * np.trace(scatter) / len(scatter) * np.eye(len(scatter)))
    return (vectors * values**-0.5) @ vectors.T
