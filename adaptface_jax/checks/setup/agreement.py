"""Labels and truth values checked with the unadapted backbone: faces it finds similar should have the same label.

A new adapter changes nothing, so the features of the new model are the frozen backbone's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import rankdata

from adaptface_jax.checks.finding import Finding, fault, note, ok, warning
from adaptface_jax.core.errors import InputError
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.decode import decode
from adaptface_jax.data.record import Source
from adaptface_jax.evaluation.distances import pair_distances
from adaptface_jax.evaluation.embedding import Embedder
from adaptface_jax.training.recognition.model import Model

IDENTITIES, IMAGES_EACH, PAIRS = 32, 4, 200
PERMUTATIONS = 500


def labels(model: Model, embedder: Embedder, source: Source, seed: int) -> Finding | None:
    """Whether images of one label are closer to each other than to others, by more than chance.

    Chance is measured on the same images with permuted labels. None if too few images can be compared.
    """
    images, truth = _some_people(source, np.random.default_rng(seed))
    rows, columns = np.triu_indices(len(truth), 1)
    same = truth[rows] == truth[columns]
    if same.sum() < 10 or same.all():
        return None
    features = embedder(model.frozen, model.trainable, images, flip=False).feature
    features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    ranks = rankdata(-(features @ features.T)[rows, columns])  # closest pairs first
    rng = np.random.default_rng(seed)
    shuffled = [rng.permutation(truth) for _ in range(PERMUTATIONS)]
    chance = float(np.quantile([_auc(ranks, order[rows] == order[columns]) for order in shuffled], 0.99))
    auc = _auc(ranks, same)
    what = f"AUC {auc:.3f} of same-identity against other pairs, chance is below {chance:.3f} ({len(truth)} images)"
    numbers: dict[str, Any] = {"auc": auc, "chance": chance, "images": len(truth)}
    if auc > chance:
        return ok("labels fit images", what, **numbers)
    if model.identity["source"] == "random":
        return note("labels fit images", what, "random weights cannot tell", **numbers)
    return fault(
        "labels fit images",
        what,
        "labels shuffled or offset from the images, or faces not cropped: inspect images of one identity",
        **numbers,
    )


def truth_values(model: Model, embedder: Embedder, benchmark: Benchmark, good: np.ndarray, seed: int) -> Finding | None:
    """The frozen backbone on a sample of a benchmark's pairs: AUC below chance means inverted truth values.

    good: bool [M], images that can be decoded. None if one kind of pair is missing.
    """
    pair = np.asarray(benchmark.index).reshape(-1, 2)
    rng, issame = np.random.default_rng(seed), np.asarray(benchmark.issame, bool)
    usable = good[pair].all(axis=1)
    chosen = [rng.permutation(np.flatnonzero(usable & (issame == kind)))[: PAIRS // 2] for kind in (True, False)]
    genuine, impostor = (len(part) for part in chosen)
    if min(genuine, impostor) < 5:
        return None
    images, place = np.unique(pair[np.concatenate(chosen)], return_inverse=True)
    found = embedder(model.frozen, model.trainable, [benchmark.images[i] for i in images], flip=False).feature
    auc = _auc(rankdata(pair_distances(found[place.ravel()])), np.arange(genuine + impostor) < genuine)
    error = float(np.sqrt((genuine + impostor + 1) / (12 * genuine * impostor)))
    what = f"AUC {auc:.3f} on {genuine + impostor} pairs (chance 0.5 +- {error:.3f})"
    numbers: dict[str, Any] = {"auc": auc, "pairs": genuine + impostor}
    if auc < 0.5 - 2.5 * error:
        return fault(
            "frozen backbone",
            f"{what}: genuine pairs are less similar than impostor pairs",
            "truth values inverted: genuine pairs must be true",
            **numbers,
        )
    if auc < 0.5 + error:
        says = note if model.identity["source"] == "random" else warning
        return says(
            "frozen backbone",
            f"{what}: at chance",
            "truth values shuffled, faces not cropped, or a very hard set",
            **numbers,
        )
    return ok("frozen backbone", what, **numbers)


def _some_people(source: Source, rng: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray]:
    """Decoded images and labels of a few identities with several images."""
    order = np.argsort(source.labels, kind="stable")
    starts = np.searchsorted(source.labels[order], np.arange(source.num_classes + 1))
    several = np.flatnonzero(np.diff(starts) > 1)
    images, truth = [], []
    for identity in rng.permutation(several)[:IDENTITIES]:
        members = rng.permutation(order[starts[identity] : starts[identity + 1]])[:IMAGES_EACH]
        for number in members:
            try:
                record = source[int(number)]
                images.append(decode(record.image, record.key))
            except InputError:
                continue  # `readable` names it
            truth.append(record.label)
    return images, np.array(truth, np.int64)


def _auc(ranks: np.ndarray, same: np.ndarray) -> float:
    """The probability that a pair of `same` ranks before one that is not (Mann-Whitney)."""
    first, second = int(same.sum()), int((~same).sum())
    return 1 - (float(ranks[same].sum()) - first * (first + 1) / 2) / (first * second)
