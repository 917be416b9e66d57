"""95% intervals of search metrics: over draws of people, not of probes.

A search is an event between two people, the one in the probe and the most similar other: all searches for a person,
and all in which that person is the nearest stranger, are correlated. So to `jackknife.People` they are pairs of
people, and the same method gives their intervals, over the choice of who is searched for and of who is nearest in the
gallery.
"""

from __future__ import annotations

import numpy as np

from adaptface_jax.evaluation.statistics import influence
from adaptface_jax.evaluation.statistics.intervals import Around, Interval
from adaptface_jax.evaluation.statistics.jackknife import People


class Searches:
    """Some searches. person, other: int [P], the person in the probe, and the most similar other person.
    score: float [P], the similarity that decides the search: with the person's own row, or the highest of a stranger.
    known: bool [P], whether the person is in the gallery.
    """

    def __init__(self, person: np.ndarray, other: np.ndarray, score: np.ndarray, known: np.ndarray) -> None:
        self._sides, self._score, self._known = np.stack([person, other], axis=1), score, known
        self.people = self._people(np.ones(len(known), bool))

    def share(self, right: np.ndarray) -> Interval:
        """The interval of the share of correct known searches; bool [P], in which those of strangers do not count."""
        rate, terms = float(right[self._known].mean()), influence.of_rate(right[self._known], self._every)
        return self._around_known.share(rate, terms, int(self._known.sum()))

    def mean(self, values: np.ndarray) -> Interval:
        """The interval of the mean over the known searches of a value in 0..1, float [P]."""
        rate, terms = float(values[self._known].mean()), influence.of_rate(values[self._known], self._every)
        return self._around_known.area(rate, terms, int(self._known.sum()))

    def found(self, rate: float, terms: np.ndarray) -> Interval:
        """The interval of a share of known searches at a threshold set by strangers; terms: influence, float [P]."""
        around = Around(-self._score, self._known, self.people)
        return around.share(rate, terms, int(self._known.sum()))

    @property
    def _every(self) -> np.ndarray:
        return np.ones(int(self._known.sum()), bool)

    @property
    def _around_known(self) -> Around:
        return Around(-self._score[self._known], self._every, self._people(self._known))

    def _people(self, which: np.ndarray) -> People:
        sides = self._sides[which]
        # To the jackknife each is a pair of two people, like an impostor pair.
        return People(np.arange(sides.size), np.zeros(len(sides), bool), sides.ravel())
