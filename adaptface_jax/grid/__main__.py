"""Run a recipe with every combination of some settings' values, and rank what comes out.

    adaptface grid --config=lora --out=runs/grid --sweep train.learning_rate=1e-4,1e-3 --sweep adapter.rank=8,16
    adaptface grid --config=tiny_imagenet_resnet --out=runs/blocks --sweep "model.blocks=(2,2,2),(3,3,3)"
    adaptface grid --config=celeba_cnn --out=runs/search --sweep train.learning_rate=1e-5..1e-2 --trials=20

Each combination is a run of `adaptface train` or `classify` in a folder of its own under --out, named by its values;
what it says is in its grid.log. The same command again goes on: what has finished is passed over, what was cut short
goes on where it was, what failed is tried again. --trials draws so many combinations with Optuna (extra `optuna`).
--yardstick adds what a DA-LoRA of K experts of rank r has to beat, the LoRA of rank K r.

Exit status: 0 done, 1 some sub-runs failed, 2 wrong flags or settings, 75 stopped with the sub-runs saved.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.outputs import output_folder
from adaptface_jax.cli.parser import Parser
from adaptface_jax.config.classification import ClassificationConfig
from adaptface_jax.config.schema import Config
from adaptface_jax.core.errors import InputError, RunError, Stopped
from adaptface_jax.core.files import disk_may_fill, locked
from adaptface_jax.core.outputs import check_inside
from adaptface_jax.core.text import shown
from adaptface_jax.grid.children import devices, run_all
from adaptface_jax.grid.record import FAILED, FINISHED, NAME, STOPPED
from adaptface_jax.grid.runs import Grid
from adaptface_jax.grid.table import PAGE
from adaptface_jax.training.stopping import StopSignals


def main(args: argparse.Namespace) -> None:
    """Check every combination; list them, or run them all and rank them."""
    if not args.sweep:
        raise InputError("--sweep: none is given; expected at least one NAME=VALUE,VALUE")
    if args.trials is not None and args.trials < 1:
        raise InputError(f"--trials: {args.trials} is out of range; expected at least 1")
    if args.yardstick and args.trials is not None:
        raise InputError("--yardstick: belongs to every combination, not to --trials; leave one of them out")
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
            grid = Grid(args, len(slots))  # another process may have gone on with it since
            run_all(grid.jobs(), slots, stop, lambda end: grid.ended(end, stop.received is not None))
            grid.write()
    last_words(grid, stop.received)


def listed(grid: Grid) -> None:
    """The sub-runs with their commands, and the time."""
    for run in grid.record.runs:
        print(f"{run.name}{' (finished)' if run.state == FINISHED else ''}")
        print(f"    python -m {shlex.join(grid.words(run))}")
    if len(grid.record.runs) < grid.planned:
        print(f"{grid.planned - len(grid.record.runs)} more to be drawn, each when those before it have ended")
    print(grid.time_left())


def last_words(grid: Grid, received: str | None) -> None:
    """The table and where it is; raises Stopped or RunError where not every sub-run has finished."""
    finished, failed = grid.of_state(FINISHED), grid.of_state(FAILED)
    done = f"{len(finished)} of {grid.planned} sub-runs have finished"
    if received:
        raise Stopped(f"stopped by {received}; {done}, run the same command to go on")
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
        raise Stopped(f"{done}, others were stopped; run the same command to go on")


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "", settings=(Config, ClassificationConfig))
    result.add_argument(
        "--out", type=output_folder, required=True, metavar="DIR", help="the grid's folder; an existing grid goes on"
    )
    result.add_argument(
        "--sweep", action="append", metavar="NAME=A,B", help="a setting and its values, or LOW..HIGH with --trials"
    )
    result.add_argument("--trials", type=int, metavar="N", help="draw N combinations with Optuna in place of all")
    result.add_argument(
        "--yardstick", action="store_true", help="beside every DA-LoRA also the plain LoRA of its own size"
    )
    result.add_argument("--benchmark", action="append", metavar="NAME=PATH", help="faces: verify on this; repeatable")
    result.add_argument("--devices", type=int, metavar="N", help="sub-runs at a time, a device each [all; 1 on a CPU]")
    result.add_argument("--dry_run", action="store_true", help="check everything, list the sub-runs and stop")
    return result


if __name__ == "__main__":
    run_command(main, parser())
