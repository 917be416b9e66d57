"""Sites whose strangers are more similar than a benchmark's, and piles of their photographs: for `site_thresholds.py`
and the tests.

Simulated embeddings: people are points around their site's center; the farther out it is, the more similar are
strangers, so that all impostor scores are shifted.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from adaptface_jax.evaluation.site_thresholds import site_thresholds
from adaptface_jax.evaluation.statistics.intervals import false_accepts
from adaptface_jax.evaluation.statistics.jackknife import People
from adaptface_jax.evaluation.statistics.people import people_of
from adaptface_jax.evaluation.thresholds import thresholds_at_far

FAR = "1e-2"
WIDTH = 32  # of the embeddings
FRESH = 100_000  # pairs by which the true FAR is counted
BENCHMARK_PAIRS = 3000  # of each kind


@dataclasses.dataclass(frozen=True)
class Pile:
    """photographs of a pile; each of its people has one, but a share `several` of them have `more`. noise: of a
    photograph, where people differ by 1."""

    name: str
    photographs: int
    several: float = 0.0
    more: int = 1
    noise: float = 0.5


PILES = (
    Pile("400 strangers", 400),
    Pile("400 photographs, a fifth of the people twice", 400, several=0.2, more=2),
    Pile("400 photographs, a fifth of the people twice, a poor model", 400, several=0.2, more=2, noise=1.0),
    Pile("500 photographs of 100 people, a good model", 500, several=1.0, more=5, noise=0.25),
    Pile("500 photographs of 100 people", 500, several=1.0, more=5),
)


class Place:
    """Where faces come from: embeddings of people around a common center.

    center: how far out it is; the farther, the more similar are strangers.
    """

    def __init__(self, center: float, noise: float, rng: np.random.Generator) -> None:
        direction = rng.standard_normal(WIDTH)
        self._center = np.float32(center) * (direction / np.linalg.norm(direction)).astype(np.float32)
        self._axes = np.exp(0.3 * rng.standard_normal(WIDTH, np.float32))
        self._noise, self._rng = noise, rng

    def seen(self, person: np.ndarray) -> np.ndarray:
        """An image of each of these people, int [N], numbers from 0: float [N, WIDTH], unit length."""
        people, images = (
            self._rng.standard_normal((count, WIDTH), np.float32) for count in (int(person.max()) + 1, len(person))
        )
        points = (self._center + self._axes * people)[person] + self._noise * images
        return points / np.linalg.norm(points, axis=1, keepdims=True)

    def strangers(self, pairs: int) -> np.ndarray:
        """Squared distances of independent pairs of two people, float [pairs]."""
        one, other = (self.seen(np.arange(pairs)) for _ in range(2))
        return np.square(one - other).sum(axis=1)

    def doubles(self, pairs: int) -> np.ndarray:
        """Squared distances of pairs of one person."""
        points = self.seen(np.repeat(np.arange(pairs), 2))
        return np.square(points[::2] - points[1::2]).sum(axis=1)


def people_of_pile(pile: Pile, rng: np.random.Generator) -> np.ndarray:
    """The person of each photograph, int [N]."""
    counts = np.where(rng.random(pile.photographs) < pile.several, pile.more, 1)
    return np.repeat(np.arange(len(counts)), counts)[: pile.photographs]


@dataclasses.dataclass(frozen=True)
class Held:
    """The outcome for one site. known: whether the pile yielded a threshold. inside: whether the promised FAR is in the
    threshold's interval, far_inside: the true FAR in that of the FAR. true: the FAR at the threshold. benchmark: the
    FAR at that of the benchmark, benchmark_inside: whether it is in the benchmark's interval. shift: of the scores."""

    known: bool
    inside: bool = False
    far_inside: bool = False
    true: float = 0.0
    width: float = 0.0
    benchmark: float = 0.0
    benchmark_inside: bool = False
    doubles: float = 0.0
    most: float = 0.0


def one_site(pile: Pile, rng: np.random.Generator, fresh: int = FRESH) -> Held:
    """A benchmark, and a site whose strangers are more similar, with its pile."""
    benchmark, site = (Place(center, pile.noise, rng) for center in (2.0, rng.uniform(2.5, 5.0)))
    genuine, impostor = benchmark.doubles(BENCHMARK_PAIRS), benchmark.strangers(BENCHMARK_PAIRS)
    distances, issame = np.append(genuine, impostor), np.arange(2 * BENCHMARK_PAIRS) < BENCHMARK_PAIRS
    of_benchmark = thresholds_at_far(distances, issame)[FAR]
    assert of_benchmark is not None
    index = np.arange(2 * len(distances))
    people = People(index, issame, people_of(index, issame))
    low, high = false_accepts(distances, issame, people, of_benchmark)[1]
    found = site_thresholds(site.seen(people_of_pile(pile, rng)), genuine)
    true = np.sort(site.strangers(fresh))

    def far(threshold: float) -> float:
        return float(np.searchsorted(true, threshold)) / len(true)

    if FAR not in found.at_far:
        return Held(False)
    of_site = found.at_far[FAR]
    return Held(
        known=True,
        inside=far(of_site.interval[0]) <= float(FAR) <= far(of_site.interval[1]),
        far_inside=of_site.far_interval[0] <= far(of_site.value) <= of_site.far_interval[1],
        true=far(of_site.value),
        width=of_site.far_interval[1] / of_site.far_interval[0] if of_site.far_interval[0] else float("inf"),
        benchmark=far(of_benchmark),
        benchmark_inside=low <= far(of_benchmark) <= high,
        doubles=found.doubles,
        most=found.doubles_at_most or 0.0,
    )
