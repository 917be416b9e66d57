# SPDX-License-Identifier: Apache-2.0
"""Variants of a step in separate processes that take turns, and the machine they run on."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).resolve().parent


class Worker:
    """A variant in its own process."""

    def __init__(self, script: Path, problem: Any) -> None:
        print(f"starting {problem.variant} of {script.name}", file=sys.stderr)
        paths = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # leave the device's memory to the others
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }
        self.process = subprocess.Popen(
            [sys.executable, str(script), json.dumps(dataclasses.asdict(problem))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self.problem = problem
        self.facts: dict[str, Any] = {}
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []
        self.peak_bytes = 0

    @classmethod
    def ready(cls, script: Path, problem: Any) -> Self:
        """A worker that has compiled and warmed up."""
        worker = cls(script, problem)
        worker.warm()
        return worker

    def warm(self) -> None:
        """Wait until it has."""
        self.facts = self.answer()

    def answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.problem.variant}: the worker ended with status {self.process.wait()}")
        return json.loads(line)

    def run(self, steps: int) -> None:
        print(steps, file=self.process.stdin, flush=True)
        answer = self.answer()
        self.seconds.append(answer["seconds"] / steps)
        self.cpu_seconds.append(answer["cpu_seconds"] / steps)
        self.peak_bytes = answer["peak_bytes"]

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def take_turns(workers: list[Worker], rounds: int, steps: int) -> list[Worker]:
    """Rounds of this many steps each; afterwards the workers are closed, with their times in `seconds`."""
    try:
        for number in range(rounds):
            # Alternating directions: no worker always follows the same one.
            for worker in workers if number % 2 == 0 else reversed(workers):
                worker.run(steps)
    finally:
        for worker in workers:
            worker.close()
    return workers


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine(rows: list[dict[str, Any]], load_before: float) -> dict[str, Any]:
    """What the rows were measured on."""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_before_and_after": [load_before, os.getloadavg()[0]],
        "devices": sorted({r["device"] for r in rows}),
        "python": platform.python_version(),
        "versions": {name: version for r in rows for name, version in r["versions"].items()},
        "date": datetime.date.today().isoformat(),
    }
