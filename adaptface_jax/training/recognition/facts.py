"""What a report of a face training states first."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """Names, the number of steps, the step of the best checkpoint (None: none was evaluated).

    weights: the source of the backbone's. adapter: its kind. training_data: one line. ended_early: why, or "".
    """

    backbone: str
    weights: str
    adapter: str
    training_data: str
    steps: int
    seed: int
    best_checkpoint: int | None = None
    ended_early: str = ""
