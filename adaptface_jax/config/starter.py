# SPDX-License-Identifier: Apache-2.0
"""Settings for a first run on a folder of people, by the number of images.

The rule is defined only here; `benchmarks/starter_rule.py` measures half and twice each of its numbers.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural

RECIPE = "small_faces"
IMAGES, STEPS = 300, 400  # what the recipe was measured on
LEAST, MOST = 200, 1600  # steps
MANY, RANK, LARGE_RANK = 1000, 16, 48
BATCH, RATE = 60, 1.5e-3

PART, FEWEST, PAIRS, MOST_PEOPLE = 0.2, 12, 120, 200  # held out


@dataclasses.dataclass(frozen=True)
class Starter:
    """What the rule sets, over the recipe RECIPE."""

    rank: int
    steps: int
    batch_size: int
    learning_rate: float

    def settings(self) -> dict[str, float]:
        """By the names that `--config.NAME=VALUE` takes; alpha follows the rank, so that the update is scaled alike."""
        return {
            "adapter.rank": self.rank,
            "adapter.alpha": float(self.rank),
            "train.steps": self.steps,
            "train.batch_size": self.batch_size,
            "train.learning_rate": self.learning_rate,
        }


def starter(images: int) -> Starter:
    """The settings for a training set of `images` images, at least one."""
    steps = STEPS * math.sqrt(images / IMAGES)
    return Starter(
        rank=LARGE_RANK if images >= MANY else RANK,
        steps=min(max(50 * round(steps / 50), LEAST), MOST),
        batch_size=min(BATCH, max(images // 2, 1)),  # some images may still be lost
        learning_rate=RATE,
    )


def held_out(counts: np.ndarray) -> int:
    """How many people to hold out for verification, given their image counts (int [P]).

    The share PART, but at least FEWEST where there are enough people, since fewer cannot show that a difference is
    real; and enough for PAIRS genuine pairs, so that a threshold is known. Never more than half of them. Raises
    InputError where two could not be held out and two trained on.
    """
    people, able = len(counts), int((counts > 1).sum())
    if people < 4 or able < 2:
        raise InputError(
            f"{plural(people, 'person')}, {able:,} of whom have two images; expected at least 4, and two images of 2 "
            "of them: some are trained on, others verified on"
        )
    pairs = (counts * (counts - 1) // 2).sum() / people  # per person, on average
    wanted = max(PART * people, min(FEWEST, people / 3), PAIRS / max(pairs, 1e-9))
    return int(min(max(math.ceil(wanted), 2), able, people // 2, MOST_PEOPLE))


def rule_lines(images: int, held: int) -> list[str]:
    """The rule's result for this many training images and held-out people, and the rule itself."""
    found = starter(images)
    settings = f"rank {found.rank}, {found.steps:,} steps of {found.batch_size} images, rate {found.learning_rate:g}"
    lengths = f"{STEPS} x sqrt(images / {IMAGES}) steps, {LEAST} to {MOST:,}"
    return [
        f"settings  {settings}: recipe {RECIPE} for about {images:,} training images",
        f"          rule: {lengths}; rank {RANK}, from {MANY:,} images on {LARGE_RANK}",
        f"pairs     of {held:,} held-out people: a fifth, or {FEWEST} where that is more, at most a third",
    ]
