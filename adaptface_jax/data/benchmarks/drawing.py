"""Verification pairs drawn from identities: half genuine, half impostor, people evenly, conditions crossed."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from adaptface_jax.data.benchmarks.benchmark import FOLDS

# With two people, all impostor pairs of a fold would be of the same two people.
PEOPLE_OF_FOLD = 3

# Up to this many pairs of two sets of images are shuffled at once; beyond that, numbers are drawn until one is new.
_SHUFFLED = 1 << 16

Pair = tuple[int, int]
Stratum = tuple[int, int]  # the kinds of the two images


@dataclasses.dataclass(frozen=True)
class DrawnPair:
    """Two records of a source, and whether they are of one person."""

    first: int
    second: int
    same: bool
    fold: int


def draw_pairs(
    labels: np.ndarray, membership: np.ndarray, people: Sequence[int], wanted: int, rng: np.random.Generator
) -> list[DrawnPair]:
    """At most `wanted` different pairs of images of these people, half of them genuine, sorted by fold.

    labels: int [N], the person of each image. membership: uint8 [N, K], its conditions; an image without any is in no
    pair. Every cell of two conditions, or of one with itself, gets equally many pairs as far as it has them; for each
    genuine pair there is an impostor pair whose images have the same conditions, so every cell is half genuine.

    Folds have equally many people, none in two of them; fewer than `2 * PEOPLE_OF_FOLD` people make a single fold.
    """
    order = rng.permutation(np.asarray(people))
    count = fold_count(len(order))
    fold_of = {int(person): place % count for place, person in enumerate(order)}
    drawn: list[DrawnPair] = []
    for fold in range(count):
        share = (fold + 1) * (wanted // 2) // count - fold * (wanted // 2) // count
        members = [person for person, its in fold_of.items() if its == fold]
        for genuine, impostor in _Fold(labels, membership, members, rng).draw(share):
            drawn += [DrawnPair(*genuine, True, fold), DrawnPair(*impostor, False, fold)]
    return drawn


def fold_count(people: int) -> int:
    """How many folds without shared people this many people make."""
    return min(FOLDS, max(people // PEOPLE_OF_FOLD, 1))


class _Fold:
    """The people of a fold, and their pairs drawn so far. A kind is a set of conditions that some image has."""

    def __init__(
        self, labels: np.ndarray, membership: np.ndarray, people: Sequence[int], rng: np.random.Generator
    ) -> None:
        self._rng, self._people = rng, people
        indices = np.flatnonzero(np.isin(labels, people) & membership.any(axis=1))
        self._kinds, of_image = np.unique(membership[indices], axis=0, return_inverse=True)
        # Of each person, the images of each kind.
        self._images: dict[tuple[int, int], np.ndarray] = {}
        for person in people:
            for kind in range(len(self._kinds)):
                found = indices[(labels[indices] == person) & (of_image.ravel() == kind)]
                if len(found):
                    self._images[person, kind] = found
        self._taken: set[Pair] = set()
        self._made: dict[tuple[int, int, Stratum], Iterator[Pair]] = {}
        self._ended: set[tuple[int, int, Stratum]] = set()
        self._used_up: set[Stratum] = set()
        self._uses = {True: Counter[int](), False: Counter[int]()}

    def draw(self, wanted: int) -> Iterator[tuple[Pair, Pair]]:
        """A genuine pair and an impostor pair of the same kinds, cell by cell in turn."""
        conditions = self._kinds.shape[1]
        cells = list(itertools.combinations_with_replacement(range(conditions), 2))
        drawn = 0
        while cells and drawn < wanted:
            for cell in list(cells):
                if drawn == wanted:
                    break
                pairs = self._of_cell(cell)
                if pairs is None:
                    cells.remove(cell)
                else:
                    drawn += 1
                    yield pairs

    def _of_cell(self, cell: tuple[int, int]) -> tuple[Pair, Pair] | None:
        """One more genuine and one more impostor pair in a cell; None if either is exhausted."""
        first, second = (np.flatnonzero(self._kinds[:, condition]).tolist() for condition in cell)
        strata = {(min(one, other), max(one, other)) for one in first for other in second}
        for stratum in self._rng.permutation(sorted(strata)).tolist():
            pairs = self._of_stratum((stratum[0], stratum[1]))
            if pairs is not None:
                return pairs
        return None

    def _of_stratum(self, stratum: Stratum) -> tuple[Pair, Pair] | None:
        if stratum not in self._used_up:
            genuine = self._next(stratum, True)
            impostor = self._next(stratum, False)
            if genuine is not None and impostor is not None:
                return genuine, impostor
            self._used_up.add(stratum)
        return None

    def _next(self, stratum: Stratum, same: bool) -> Pair | None:
        """The next pair of two kinds, of the people used least so far."""
        uses = self._uses[same]
        ones, others = (self._having(kind, uses) for kind in stratum)
        for one in ones:
            for other in [one] if same else others:
                key = (one, other, stratum)
                if same != (one == other) or (other, stratum[1]) not in self._images or key in self._ended:
                    continue
                pair = next(self._pairs_of(key), None)
                if pair is not None:
                    uses.update({one, other})
                    return pair
                self._ended.add(key)
        return None

    def _having(self, kind: int, uses: Counter[int]) -> list[int]:
        """The people with images of a kind, those in the fewest pairs first; ties in random order."""
        people = [person for person in self._people if (person, kind) in self._images]
        self._rng.shuffle(people)
        return sorted(people, key=uses.__getitem__)

    def _pairs_of(self, key: tuple[int, int, Stratum]) -> Iterator[Pair]:
        if key not in self._made:
            one, other, stratum = key
            self._made[key] = self._fresh(self._images[one, stratum[0]], self._images[other, stratum[1]])
        return self._made[key]

    def _fresh(self, first: np.ndarray, second: np.ndarray) -> Iterator[Pair]:
        """Pairs with one image of each set, in random order, without those already drawn."""
        for number in _numbers(len(first) * len(second), self._rng):
            one, other = int(first[number // len(second)]), int(second[number % len(second)])
            pair = (min(one, other), max(one, other))
            if one != other and pair not in self._taken:
                self._taken.add(pair)
                yield one, other


def _numbers(count: int, rng: np.random.Generator) -> Iterator[int]:
    """0..count-1 in random order."""
    if count <= _SHUFFLED:
        yield from rng.permutation(count).tolist()
        return
    seen: set[int] = set()
    while len(seen) < count:
        number = int(rng.integers(count))
        if number not in seen:
            seen.add(number)
            yield number
