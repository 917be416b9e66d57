"""Probable mistakes in a set of people, by embeddings: one person in two folders, images of somebody else, and people
who are also in a benchmark.

The similarity of one person's two folders is estimated from the set itself: the images of everybody who has four are
split in halves, and the similarity of the halves' centers is that of one person in two folders. It is only as good as
the model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from adaptface_jax.core.errors import InputError

# The share of one person's two halves that is less similar than the threshold, and so of twins that are missed.
MISSED = 0.05
HALVED = 4  # images that a person needs to be halved
_BLOCK = 4096


@dataclasses.dataclass(frozen=True)
class Suspect:
    """kind: TWINS, SHARED or OUTLIER. image, other: two images to compare, by number; for SHARED `other` is one
    of the benchmark's. similarity: cosine, of the centers of two people, or of an image and the center of another
    person; own: for an OUTLIER, of the image and the center of its own person's other images."""

    kind: str
    image: int
    other: int
    similarity: float
    own: float | None = None


TWINS, SHARED, OUTLIER = "twins", "shared", "outlier"


@dataclasses.dataclass(frozen=True)
class People:
    """units: float [N, E], unit embeddings. label: int [N], 0..C-1. center: float [C, E], of unit length, zeros if a
    person has no image. example: int [C], the image closest to the center."""

    units: np.ndarray
    label: np.ndarray
    center: np.ndarray
    example: np.ndarray

    @classmethod
    def of(cls, units: np.ndarray, label: np.ndarray, classes: int) -> People:
        center = _centers(units, label, classes)
        near = np.einsum("ne,ne->n", units, center[label])
        order = np.lexsort((near, label))
        example = np.zeros(classes, np.int64)
        example[label[order]] = order  # the last of each, which is the closest, remains
        return cls(units, label, center, example)


def twin_threshold(people: People, rng: np.random.Generator) -> float:
    """The similarity that all but MISSED of the halves of one person have.

    Raises InputError if nobody has HALVED images.
    """
    classes = len(people.center)
    order = rng.permutation(len(people.label))
    order = order[np.argsort(people.label[order], kind="stable")]
    counts = np.bincount(people.label, minlength=classes)
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    halves = [order[place % 2 == side] for side in (0, 1)]
    one, other = (_centers(people.units[half], people.label[half], classes) for half in halves)
    able = counts >= HALVED
    if not able.any():
        raise InputError(f"nobody has {HALVED} images, so the similarity within a person is unknown; give --threshold")
    return float(np.quantile(np.einsum("ce,ce->c", one[able], other[able]), MISSED))


def twins(people: People, threshold: float) -> Iterator[Suspect]:
    """Each two people of whom one is the other's nearest, and who are as similar as one person's halves."""
    found = set()
    for person, nearest, similarity in _nearest(people.center, people.center, np.arange(len(people.center))):
        pair = (min(person, nearest), max(person, nearest))
        if similarity >= threshold and pair not in found:
            found.add(pair)
            yield Suspect(TWINS, int(people.example[pair[0]]), int(people.example[pair[1]]), similarity)


def shared(people: People, benchmark: People, threshold: float) -> Iterator[Suspect]:
    """Each person of a benchmark whose nearest person of the set is as similar as one person's halves."""
    for person, nearest, similarity in _nearest(benchmark.center, people.center):
        if similarity >= threshold:
            yield Suspect(SHARED, int(people.example[nearest]), int(benchmark.example[person]), similarity)


def outliers(people: People) -> Iterator[Suspect]:
    """Each image that is closer to another person's center than to that of its own person's other images."""
    counts = np.bincount(people.label, minlength=len(people.center))
    sums = np.zeros_like(people.center)
    np.add.at(sums, people.label, people.units)
    rest = sums[people.label] - people.units
    lengths = np.linalg.norm(rest, axis=1)
    own = np.einsum("ne,ne->n", people.units, rest) / np.maximum(lengths, 1e-12)
    for image, nearest, similarity in _nearest(people.units, people.center, people.label):
        if counts[people.label[image]] > 1 and similarity > own[image]:
            yield Suspect(OUTLIER, image, int(people.example[nearest]), similarity, float(own[image]))


def _nearest(rows: np.ndarray, centers: np.ndarray, own: np.ndarray | None = None) -> Iterator[tuple[int, int, float]]:
    """(row, its nearest center, their cosine) for each row; `own`: the center that is excluded for each row."""
    for start in range(0, len(rows), _BLOCK):
        similarity = rows[start : start + _BLOCK] @ centers.T
        if own is not None:
            similarity[np.arange(len(similarity)), own[start : start + _BLOCK]] = -np.inf
        best = similarity.argmax(axis=1)
        for row, (nearest, value) in enumerate(zip(best, similarity[np.arange(len(best)), best], strict=True)):
            yield start + row, int(nearest), float(value)


def _centers(units: np.ndarray, label: np.ndarray, classes: int) -> np.ndarray:
    sums = np.zeros((classes, units.shape[1]), units.dtype)
    np.add.at(sums, label, units)
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
