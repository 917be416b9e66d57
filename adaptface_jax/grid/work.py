"""What `adaptface grid` does."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from adaptface_jax.core.errors import InputError, RunError, Stopped
from adaptface_jax.core.files import disk_may_fill, locked
from adaptface_jax.core.outputs import check_inside
from adaptface_jax.core.text import shown
from adaptface_jax.grid.children import devices, run_all
from adaptface_jax.grid.record import FAILED, FINISHED, NAME, STOPPED
from adaptface_jax.grid.runs import Grid
from adaptface_jax.grid.table import PAGE
from adaptface_jax.training.stopping import StopSignals


def work(args: argparse.Namespace) -> None:
    """Check every combination; list them, or run them all and rank them."""
    if not args.sweep:
        raise InputError("--sweep: none is given; expected at least one NAME=VALUE,VALUE")
    if args.trials is not None and args.trials < 1:
        raise InputError(f"--trials: {args.trials} is out of range; expected at least 1")
    if args.yardstick and args.trials is not None:
        raise InputError("--yardstick: applies to all combinations, not to --trials; omit one of them")
    out = Path(args.out)
    check_inside(out, (NAME, PAGE))
    grid = Grid(args)
    if args.dry_run:
        listed(grid)
        return
    busy = f"--out: another grid is running in {shown(str(out))}; wait, or choose another folder"
    with StopSignals() as stop:
        slots = devices(args.devices)
        with disk_may_fill(out), locked(out, busy):
            grid = Grid(args, len(slots))  # another process may have continued it since
            run_all(grid.jobs(), slots, stop, lambda end: grid.ended(end, stop.received is not None))
            grid.write()
    last_words(grid, stop.received)


def listed(grid: Grid) -> None:
    """The sub-runs with their commands, and the time."""
    for run in grid.record.runs:
        print(f"{run.name}{' (finished)' if run.state == FINISHED else ''}")
        print(f"    python -m {shlex.join(grid.words(run))}")
    if len(grid.record.runs) < grid.planned:
        print(f"{grid.planned - len(grid.record.runs)} more to be drawn, each after the previous ones have ended")
    print(grid.time_left())


def last_words(grid: Grid, received: str | None) -> None:
    """Print the table and where it is; raises Stopped or RunError unless every sub-run has finished."""
    finished, failed = grid.of_state(FINISHED), grid.of_state(FAILED)
    done = f"{len(finished)} of {grid.planned} sub-runs have finished"
    if received:
        raise Stopped(f"stopped by {received}; {done}, run the same command to resume")
    out = shlex.quote(str(grid.out))
    print(grid.table())
    print(f"written: {grid.out}/grid.md, grid.json; see also: tensorboard --logdir {out}")
    if finished:
        runs = " ".join(shlex.quote(str(grid.out / run.name)) for run in finished)
        print(f"side by side: adaptface report {runs} --out={out}", flush=True)
    if failed:
        names = "; ".join(run.name for run in failed)
        raise RunError(f"{len(failed)} of {grid.planned} sub-runs failed: {names}")
    if grid.of_state(STOPPED):
        raise Stopped(f"{done}, others were stopped; run the same command to resume")
