"""Which steps of a run are replayed: windows that start at a stored state and end at a known one."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Window(NamedTuple):
    """The steps start + 1 to end; the state after `start` is stored."""

    start: int
    end: int

    @property
    def steps(self) -> int:
        return self.end - self.start


def choose_windows(
    starts: Sequence[int],
    known: Sequence[int],
    ends: Sequence[int],
    count: int,
    allowed: int,
    seed: int,
) -> list[Window]:
    """At most `count` windows of at most `allowed` steps in total, in order, but at least one.

    starts: steps whose state is stored. known: steps of which something is known, in order. ends: steps that no window
    crosses (the run was stopped and resumed there). A window ends at the last known step within its share of
    `allowed`, or at the first known step if that is farther.
    """
    windows: list[Window] = []
    share = max(1, allowed // max(1, count))
    for start in np.random.default_rng(seed).permutation(sorted(set(starts))).tolist():
        if len(windows) == count:
            break
        limit = next((end for end in sorted(ends) if end > start), known[-1] if known else start)
        first = bisect.bisect_right(known, start)
        last = bisect.bisect_right(known, min(start + share, limit)) - 1
        if first == len(known) or known[first] > limit:
            continue
        window = Window(start, known[max(first, last)])
        if not windows or sum(each.steps for each in windows) + window.steps <= allowed:
            windows.append(window)
    return sorted(windows)
