# SPDX-License-Identifier: Apache-2.0
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
from adaptface_jax.core.flag_values import positive, whole_number

WINDOWS, SHARE, TOLERANCE = 5, 3.0, 1e-3


def main(args: argparse.Namespace) -> None:
    """Check what was kept, run windows again, print the verdict, exit with 1 if something differs."""
    from adaptface_jax.replay.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    result.add_argument("run", metavar="WORKDIR", help="the folder of a training run")
    result.add_argument(
        "--windows", type=whole_number(), default=WINDOWS, metavar="N", help=f"at most this many [{WINDOWS}]"
    )
    result.add_argument(
        "--share", type=_share, default=SHARE, metavar="PERCENT", help=f"of the steps, in total [{SHARE:g}]"
    )
    result.add_argument("--seed", type=whole_number(), default=1, help="for the choice of windows [1]")
    result.add_argument(
        "--tolerance", type=positive, default=TOLERANCE, help=f"where bits may differ, relative [{TOLERANCE:g}]"
    )
    result.add_argument("--exported", metavar="DIR", help="compare this export (--format=peft) with the checkpoints")
    result.add_argument("--output", type=output_file, metavar="FILE.json", help="write the findings here")
    return result


def _share(text: str) -> float:
    value = positive(text)
    if value > 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a percentage up to 100")
    return value


if __name__ == "__main__":
    run_command(main, parser())
