"""95% intervals of figures of searches: people are drawn anew, not probes.

A search is an event between two people, who is shown and who of the others is most like him: all searches that show a
person, and all that he is the likeliest stranger of, rise and fall together. So they are pairs of people to
`jackknife.People`, and the same method gives their intervals. In them is the luck of who is searched for and of who
lies nearest in the gallery.
"""

from __future__ import annotations

import numpy as np

from adaptface_jax.evaluation.statistics import influence
from adaptface_jax.evaluation.statistics.intervals import Around, Interval
from adaptface_jax.evaluation.statistics.jackknife import People


class Searches:
    """Some searches. person, other: int [P], who is shown, and who of all others was found most like him.
    score: float [P], the similarity that the search rests on: with the own person's row, or a stranger's highest.
    known: bool [P], whether the person is in the gallery.
    """

    def __init__(self, person: np.ndarray, other: np.ndarray, score: np.ndarray, known: np.ndarray) -> None:
        self._sides, self._score, self._known = np.stack([person, other], axis=1), score, known
        self.people = self._people(np.ones(len(known), bool))

    def share(self, right: np.ndarray) -> Interval:
        """Of the share of known searches that came out right; bool [P], of which those of strangers do not count."""
        rate, terms = float(right[self._known].mean()), influence.of_rate(right[self._known], self._every)
        return self._around_known.share(rate, terms, int(self._known.sum()))

    def mean(self, values: np.ndarray) -> Interval:
        """Of the mean over the known searches of a value in 0..1, float [P]."""
        rate, terms = float(values[self._known].mean()), influence.of_rate(values[self._known], self._every)
        return self._around_known.area(rate, terms, int(self._known.sum()))

    def found(self, rate: float, terms: np.ndarray) -> Interval:
        """Of a share of known searches at a threshold that strangers set; terms: its influence, float [P]."""
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
        # To the jackknife each is a pair of two people, as an impostor pair is.
        return People(np.arange(sides.size), np.zeros(len(sides), bool), sides.ravel())
