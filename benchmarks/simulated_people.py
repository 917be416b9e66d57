"""Benchmarks of simulated embeddings, whose true metrics can be computed: for `intervals.py` and the tests.

An embedding of an image is its person's center, plus what this model makes of that person, plus what it makes of that
image: noisier for harder people. Pairs are drawn as in protocols: as many genuine as impostor ones in every tenth, over
people and images shared by many pairs.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from adaptface_jax.evaluation.pair_scores import PairScores
from adaptface_jax.evaluation.verification import judge_pairs

WIDTH = 16  # of the embeddings: few, so that some people are similar
MIDDLING, HIGH, HIGHEST = 1.8, 0.75, 0.5  # noise of an image: AUCs of about 0.74, 0.97 and 0.995


@dataclasses.dataclass(frozen=True)
class Design:
    """people and images of each; 0 people: every pair has its own people. pairs: genuine and impostor ones.

    known: whether the source says whose face an image is; else genuine pairs alone do.
    """

    name: str
    people: int
    images: int
    pairs: int
    known: bool = True


INDEPENDENT = Design("600 independent pairs", 0, 0, 600)
DESIGNS = (
    INDEPENDENT,
    Design("40 people x 12 images, 600 pairs", 40, 12, 600),
    Design("10 people x 10 images, 600 pairs", 10, 10, 600),
    Design("60 people x 50 images, 3,000 pairs", 60, 50, 3000),
)
# Beyond what is promised: too few people, and people joined by too few genuine pairs.
BEYOND = (
    Design("5 people x 20 images, 600 pairs", 5, 20, 600),
    Design("60 people x 50 images, 3,000 pairs, people unknown", 60, 50, 3000, known=False),
)


class People:
    """Drawn people with their images, and pairs of them.

    index: int [2N]. issame: bool [N]. person: int [M], of each image.
    """

    def __init__(self, design: Design, rng: np.random.Generator) -> None:
        self.design, pairs = design, design.pairs
        self.issame = np.arange(pairs) // (pairs // 20) % 2 == 0
        if design.people:
            self.person = np.repeat(np.arange(design.people), design.images)
            one = rng.integers(0, design.people, pairs)
            other = np.where(self.issame, one, (one + rng.integers(1, design.people, pairs)) % design.people)
            first, step, free = rng.integers((0, 1, 0), (design.images,) * 3, (pairs, 3)).T
            second = np.where(self.issame, (first + step) % design.images, free)
            self.index = np.stack([one * design.images + first, other * design.images + second], axis=1).ravel()
        else:
            self.index = np.arange(2 * pairs)
            self.person = self.index.copy()
            self.person[1::2][self.issame] = self.person[::2][self.issame]
        people = int(self.person.max()) + 1
        self._center = rng.standard_normal((people, WIDTH)) + 0.7
        self._difficulty = rng.standard_normal(people)

    def seen(self, rng: np.random.Generator, noise: float, of_people: float = 0.3, of_seed: float = 0.0) -> PairScores:
        """What one model makes of the pairs; models with the same arguments are equally good.

        noise: of an image. of_people: of a person, in this model alone, and how people differ in difficulty.
        of_seed: how much the noise varies with the training seed, as a logarithm.
        """
        scale = of_people / 2 * (self._difficulty + rng.standard_normal(len(self._difficulty)))
        loud = noise * np.exp(scale + of_seed * rng.standard_normal())
        center = self._center + of_people * rng.standard_normal(self._center.shape)
        shape = (len(self.person), WIDTH)
        points = center[self.person] + loud[self.person, None] * rng.standard_normal(shape)
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        distance = np.square(points[self.index[::2]] - points[self.index[1::2]]).sum(axis=1)
        person = self.person if self.design.known else None
        accepted = judge_pairs(distance, self.issame).accepted
        return PairScores(distance, self.issame, accepted, self.index, person=person)
