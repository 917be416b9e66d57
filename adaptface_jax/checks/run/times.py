"""When a run began and ended, by the clock that its evidence was written with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from adaptface_jax.core.json_io import parse_object
from adaptface_jax.training.evidence import EVIDENCE

LATEST = 4e9  # the year 2096: what is later was never a time


class Times(NamedTuple):
    """begun, ended: seconds since 1970 UTC. spent: seconds within its sessions, without the pauses between them.

    sessions: how many trained a step.
    """

    begun: float
    ended: float
    spent: float
    sessions: int


def read_times(workdir: Path) -> Times | None:
    """Of a run; None where it kept none (version 0.1.0), or none that can be read.

    Whether the lines are as they were written is for `adaptface replay` to say.
    """
    try:
        texts = (workdir / EVIDENCE).read_bytes().split(b"\n")[:-1]
    except OSError:
        return None
    lines = []
    for text in texts:
        try:
            line = parse_object(text)
        except (ValueError, RecursionError):
            continue
        if _is_number(line.get("step")) and _is_number(line.get("time")):
            lines.append(line)
    return times_of(lines)


def times_of(lines: Sequence[Mapping[str, Any]]) -> Times | None:
    """From lines of `evidence.jsonl` with `step` and `time`; None where no step is among them.

    A session is from its first line to the last that is kept: what a killed one did after its last save is not counted,
    as its steps are not. One that trained no step, such as a report that is made again, is left out.
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
