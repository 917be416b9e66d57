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


@functools.cache  # a list of hundreds of cores takes the system milliseconds
def flags() -> frozenset[str]:
    """The instruction sets of an x86 processor, as Linux names them; empty elsewhere."""
    lines = (line.partition(":") for line in told())
    return frozenset(next((value.split() for name, _, value in lines if name.strip() == "flags"), ()))
