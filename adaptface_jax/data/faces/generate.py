"""People and pictures by number: the same (seed, identity, picture) is the same image on every machine."""

from __future__ import annotations

import functools

import numpy as np

from adaptface_jax.data.faces.conditions import DOMAINS, PORTRAIT, draw_conditions
from adaptface_jax.data.faces.render import Person, build_person, render
from adaptface_jax.data.faces.traits import Traits, draw_traits

RESERVED_SEED = 20261  # the packaged backbone has seen these people


class Population:
    """The people of one seed. ordinary: pictures without a domain, as the packaged backbone was trained on."""

    def __init__(self, seed: int, *, ordinary: bool = False):
        self.seed = seed
        self.ordinary = ordinary
        self._person = functools.lru_cache(maxsize=2)(self._build)

    def _build(self, identity: int) -> Person:
        return build_person(self.traits(identity))

    def traits(self, identity: int) -> Traits:
        """Who this person is, without rendering."""
        return draw_traits(np.random.default_rng([self.seed, identity, 0]))

    def portrait(self, identity: int) -> np.ndarray:
        """A person seen from the front in even light, without expression: uint8 [112, 112, 3]."""
        person = self._person(identity)
        return render(person, PORTRAIT, np.random.default_rng(0))

    def domain(self, picture: int) -> int:
        """The domain of a person's n-th picture: they take turns."""
        return picture % len(DOMAINS)

    def picture(self, identity: int, picture: int) -> tuple[np.ndarray, int]:
        """uint8 [112, 112, 3] and its domain (-1 for an ordinary picture)."""
        person, domain = self._person(identity), -1 if self.ordinary else self.domain(picture)
        rng = np.random.default_rng([self.seed, identity, 1 + picture])
        conditions = draw_conditions(rng, None if self.ordinary else domain, person.traits.glasses_habit)
        return render(person, conditions, rng), domain
