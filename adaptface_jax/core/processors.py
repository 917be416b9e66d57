# SPDX-License-Identifier: Apache-2.0
"""How much can be computed at a time, and what the system tells of the processors."""

from __future__ import annotations

import functools
import os
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def told() -> list[str]:
    """The lines of Linux's list of processors, `name : value`; none elsewhere."""
    try:
        return CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def first(name: str) -> str:
    """The value of the first line of this name; "" if there is none."""
    lines = (line.partition(":") for line in told())
    return next((value.strip() for known, _, value in lines if known.strip() == name), "")


@functools.cache  # a list of hundreds of cores takes the system milliseconds
def flags() -> frozenset[str]:
    """The instruction sets of an x86 processor, as Linux names them; empty elsewhere."""
    return frozenset(first("flags").split())
