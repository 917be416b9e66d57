"""Prove a run: its files are unchanged, and steps of it, computed again, give the same result.

    adaptface replay runs/exp003
    adaptface replay runs/exp003 --windows=20 --share=10 --seed=7

Every record of the run, every image it read, its backbone and each checkpoint are compared with what the training
recorded; then random windows of steps are trained again from the checkpoints (checkpoint.keep_every keeps more of them)
and compared: bit for bit on a CPU like the one that trained, elsewhere to --tolerance.

Exit status: 0 proven, 1 something differs (it is named), 2 the run cannot be replayed.
"""

from __future__ import annotations

import argparse

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.outputs import output_file
from adaptface_jax.cli.parser import Parser

WINDOWS, SHARE, TOLERANCE = 5, 3.0, 1e-3


def main(args: argparse.Namespace) -> None:
    """Check what was kept, run windows again, print the verdict, exit with 1 if something differs."""
    from adaptface_jax.replay.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    result.add_argument("run", metavar="WORKDIR", help="the folder of a training run")
    result.add_argument("--windows", type=_count, default=WINDOWS, metavar="N", help=f"at most this many [{WINDOWS}]")
    result.add_argument(
        "--share", type=_share, default=SHARE, metavar="PERCENT", help=f"of the steps, in total [{SHARE:g}]"
    )
    result.add_argument("--seed", type=_count, default=1, help="for the choice of windows [1]")
    result.add_argument(
        "--tolerance", type=_positive, default=TOLERANCE, help=f"where bits may differ, relative [{TOLERANCE:g}]"
    )
    result.add_argument("--exported", metavar="DIR", help="compare this export (--format=peft) with the checkpoints")
    result.add_argument("--output", type=output_file, metavar="FILE.json", help="write the findings here")
    return result


def _share(text: str) -> float:
    value = _positive(text)
    if value > 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a percentage up to 100")
    return value


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


if __name__ == "__main__":
    run_command(main, parser())
