"""The sub-runs as processes: one per device, their output in a file, signals passed on to them."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from adaptface_jax.core.errors import InputError, RunError
from adaptface_jax.core.files import locked
from adaptface_jax.core.text import shown
from adaptface_jax.training.stopping import StopSignals

LOG = "grid.log"  # in a sub-run's folder: its output
BOUND = Path(__file__).with_name("bound.py")
COUNT = "import jax; found = jax.local_devices(); print(found[0].platform, len(found))"
TICK = 0.1  # seconds


@dataclasses.dataclass(frozen=True)
class Job:
    """A command (what follows `python`) and the folder of its run."""

    name: str
    words: tuple[str, ...]
    workdir: Path


@dataclasses.dataclass(frozen=True)
class Ended:
    """status: of the process; negative ones are signals. line: its last output."""

    job: Job
    status: int
    seconds: float
    line: str


@dataclasses.dataclass
class Child:
    """A running sub-run."""

    job: Job
    process: subprocess.Popen[bytes]
    began: float
    log_start: int

    def ended(self) -> Ended | None:
        """How it ended, None while it runs."""
        status = self.process.poll()
        if status is None:
            return None
        said = (self.job.workdir / LOG).read_bytes()[self.log_start :].decode("utf-8", "replace")
        lines = [line for line in said.replace("\r", "\n").splitlines() if line.strip()]
        line = shown(lines[-1].strip()) if lines else ""
        if status < 0:
            line = f"killed by {signal.Signals(-status).name}" + (f"; its last line was: {line}" if line else "")
        return Ended(self.job, status, time.monotonic() - self.began, line)


def devices(wanted: int | None) -> list[dict[str, str]]:
    """For each concurrent child, what is added to its environment: the one device that it sees.

    Another process counts them, since a process that used an accelerator holds its memory. On a CPU there is one.
    Raises InputError if more are wanted than there are, RunError if jax does not start.
    """
    # Its own process group: a Ctrl-C is for this process.
    asked = subprocess.run(
        [sys.executable, "-c", COUNT], capture_output=True, text=True, stdin=subprocess.DEVNULL, process_group=0
    )
    if asked.returncode:
        raise RunError(f"jax finds no device: {(asked.stderr.strip().splitlines() or ['no message'])[-1]}")
    platform, number = asked.stdout.split()[-2:]
    count = int(number) if platform in ("gpu", "cuda") else 1
    if wanted is not None and not 1 <= wanted <= count:
        raise InputError(f"--devices: {wanted} is out of range; sub-runs have 1 to {count} devices here ({platform})")
    if platform not in ("gpu", "cuda"):
        return [{}]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    names = visible if visible != [""] else [str(i) for i in range(count)]
    return [{"CUDA_VISIBLE_DEVICES": name} for name in names[: wanted or count]]


def run_all(
    jobs: Iterator[Job], slots: Sequence[Mapping[str, str]], stop: StopSignals, ended: Callable[[Ended], None]
) -> None:
    """Run each job to its end, as many at a time as there are slots (additions to their environments).

    After a signal no further job starts, and the running ones are told to stop and waited for: they save. The next job
    is requested only when a slot is free, after reporting what has ended.
    """
    running: dict[int, Child] = {}
    passed_on, more = False, True
    try:
        while True:
            for slot, child in list(running.items()):
                if (end := child.ended()) is not None:
                    del running[slot]
                    ended(end)
            if stop.received and not passed_on:
                passed_on = True
                for child in running.values():
                    child.process.send_signal(signal.Signals[stop.received])
            while more and not stop.received and len(running) < len(slots):
                job = next(jobs, None)
                more = job is not None
                if job is not None and wait_until_free(job.workdir, stop):
                    slot = next(i for i in range(len(slots)) if i not in running)
                    running[slot] = start(job, slots[slot])
            if not running and (stop.received or not more):
                return
            time.sleep(TICK)
    finally:
        # Only after an error, such as a full disk, is any still running.
        for child in running.values():
            child.process.terminate()
        for child in running.values():
            child.process.wait()


def start(job: Job, environment: Mapping[str, str]) -> Child:
    """Start it; its output is appended to its log."""
    job.workdir.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-I", str(BOUND), str(os.getpid()), *job.words]
    with open(job.workdir / LOG, "ab") as log:
        # Its own process group: a Ctrl-C reaches it once, through the grid.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, process_group=0,
            env={**os.environ, **environment},
        )  # fmt: skip
        return Child(job, process, time.monotonic(), log.tell())


def wait_until_free(workdir: Path, stop: StopSignals) -> bool:
    """Wait for a process that still trains there, such as one left by a killed grid; False after a signal."""
    told = False
    while not stop.received:
        try:
            with locked(workdir, "busy"):
                return True
        except InputError as error:
            if str(error) != "busy":
                raise
            if not told:
                print(f"{workdir.name}: waiting for the process that still uses it", flush=True)
            told = True
            time.sleep(TICK)
    return False
