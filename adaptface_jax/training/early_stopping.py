# SPDX-License-Identifier: Apache-2.0
"""When to end a training early: no better score for a while, or a loss that is low enough."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Course:
    """The scores of a run up to a step; stored with its checkpoint, so that a resumed run continues counting.

    best: the highest score so far, None before the first. since: evaluations since then. over: the run has ended early.
    objection: why the evaluation ends it, or "". fell: the guarded benchmarks on which the latest evaluation fell, or
    "".
    """

    best: float | None = None
    since: int = 0
    over: bool = False
    objection: str = ""
    fell: str = ""

    def after(self, score: float, fell: str = "") -> Course:
        """With one more score; NaN is never better, nor is one with a guarded benchmark that fell."""
        if not fell and score == score and (self.best is None or score > self.best):
            return dataclasses.replace(self, best=score, since=0, fell="")
        return dataclasses.replace(self, since=self.since + 1, fell=fell)

    def exhausted(self, patience: int) -> bool:
        """Whether the last `patience` evaluations (0: never) were no better than an earlier one."""
        return 0 < patience <= self.since
