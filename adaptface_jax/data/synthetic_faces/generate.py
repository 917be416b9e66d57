"""People and images by number: the same (seed, identity, picture) is the same image on every machine."""

from __future__ import annotations

import functools

import numpy as np

from adaptface_jax.data.synthetic_faces.conditions import DOMAINS, PORTRAIT, Conditions, draw_conditions
from adaptface_jax.data.synthetic_faces.render import Person, build_person, render
from adaptface_jax.data.synthetic_faces.traits import Traits, draw_traits

RESERVED_SEED = 20261  # the packaged backbone was trained on these people


class Population:
    """The people of one seed. ordinary: images without a domain, like the packaged backbone's training images."""

    def __init__(self, seed: int, *, ordinary: bool = False):
        self.seed = seed
        self.ordinary = ordinary
        self.traits = functools.lru_cache(maxsize=2)(self._draw)
        self._person = functools.lru_cache(maxsize=2)(self._build)

    def _draw(self, identity: int) -> Traits:
        """The traits of this person, without rendering."""
        return draw_traits(np.random.default_rng([self.seed, identity, 0]))

    def _build(self, identity: int) -> Person:
        return build_person(self.traits(identity))

    def portrait(self, identity: int) -> np.ndarray:
        """A person from the front in even light, with a neutral expression: uint8 [112, 112, 3]."""
        person = self._person(identity)
        return render(person, PORTRAIT, np.random.default_rng(0))

    def domain(self, picture: int) -> int:
        """The domain of a person's n-th image: they alternate."""
        return picture % len(DOMAINS)

    def picture(self, identity: int, picture: int) -> tuple[np.ndarray, int]:
        """uint8 [112, 112, 3] and its domain (-1 for an ordinary image)."""
        conditions, rng = self._conditions(identity, picture)
        return render(self._person(identity), conditions, rng), -1 if self.ordinary else self.domain(picture)

    def conditions(self, identity: int, picture: int) -> Conditions:
        """How that image is taken, without rendering it."""
        return self._conditions(identity, picture)[0]

    def _conditions(self, identity: int, picture: int) -> tuple[Conditions, np.random.Generator]:
        rng = np.random.default_rng([self.seed, identity, 1 + picture])
        domain = None if self.ordinary else self.domain(picture)
        return draw_conditions(rng, domain, self.traits(identity).glasses_habit), rng
