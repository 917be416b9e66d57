"""What a report of a classification run states first."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class ClassifierFacts:
    """model: its kind and shape, one line. data: one line for each of train, validation and test.

    steps: how many were trained. best_checkpoint: its step. ended_early: why, or "".
    """

    model: str
    data: dict[str, str]
    steps: int
    seed: int
    best_checkpoint: int | None = None
    ended_early: str = ""
