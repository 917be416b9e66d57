"""What both sides of the benchmark share: the measured problem, and a worker that waits on a pipe.

Only one worker runs at a time; the others wait in `readline`, warm and idle.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Problem:
    """One training step: sizes, and the dtype of the backbone."""

    variant: str
    backbone: str = "dinov2_vits14"
    image_size: int = 224
    source_size: int = 112
    classes: int = 10_572
    embedding_dim: int = 512
    rank: int = 16
    targets: tuple[str, ...] = ("q", "k", "v", "proj")
    batch_size: int = 16
    dtype: str = "float32"
    learning_rate: float = 1e-4
    weight_decay: float = 0.05
    scale: float = 64.0
    margin: float = 0.35


@dataclasses.dataclass(frozen=True)
class Ready:
    """A compiled, warmed-up variant.

    run(steps) -> seconds for these steps, finished on the device; peak_bytes() -> the device's peak, or None where the
    process' own memory counts.
    """

    run: Callable[[int], float]
    peak_bytes: Callable[[], int | None]
    facts: dict[str, Any]


def serve(build: Callable[[Any], Ready], kind: type = Problem) -> None:
    """Build the problem on the command line, a `kind`, then answer each line `N` on stdin with the seconds of N steps.

    `cpu_seconds` counts all threads of the process, those included that spin while they wait.
    """
    answers = sys.stdout
    sys.stdout = sys.stderr  # a library that prints must not disturb the answers
    problem = json.loads(sys.argv[1])
    imported = peak_rss()
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in problem.items()}
    ready = build(kind(**values))

    def answer(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    answer(imported_bytes=imported, **ready.facts)
    for line in sys.stdin:
        start = time.process_time()
        seconds = ready.run(int(line))
        cpu_seconds = time.process_time() - start
        device = ready.peak_bytes()
        answer(seconds=seconds, cpu_seconds=cpu_seconds, peak_bytes=peak_rss() if device is None else device)


def peak_rss() -> int:
    """The peak memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
