# SPDX-License-Identifier: Apache-2.0
"""When a run started and ended, from the timestamps of its evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from adaptface_jax.core.errors import InputError
from adaptface_jax.training.evidence import read_evidence

LATEST = 4e9  # the year 2096: later values are not valid times


class Times(NamedTuple):
    """begun, ended: seconds since 1970 UTC. spent: seconds within its sessions, without the pauses between.

    sessions: how many trained a step.
    """

    begun: float
    ended: float
    spent: float
    sessions: int


def read_times(workdir: Path) -> Times | None:
    """The times of a run; None if it recorded none (version 0.1.0), or none that can be read.

    Whether the lines were altered is checked by `adaptface replay`.
    """
    try:
        lines, _ = read_evidence(workdir)
    except InputError:
        return None
    return times_of([line for line in lines if _is_number(line["step"]) and _is_number(line.get("time"))])


def times_of(lines: Sequence[Mapping[str, Any]]) -> Times | None:
    """From lines of `evidence.jsonl` with `step` and `time`; None if they have no step.

    A session lasts from its first line to its last stored one: what a killed one did after its last save is not
    counted, like its steps. One that trained no step, such as a repeated report, is skipped.
    """
    spans: list[tuple[float, float]] = []
    start, begun = 0, None
    for line in lines:
        if "sitting" in line:
            start, begun = line["step"], float(line["time"])
        elif begun is not None and line["step"] > start and "files" not in line:
            if not spans or spans[-1][0] != begun:
                spans.append((begun, begun))
            spans[-1] = begun, max(begun, float(line["time"]))
    if not spans:
        return None
    return Times(spans[0][0], spans[-1][1], sum(end - first for first, end in spans), len(spans))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LATEST
