"""Train an adapter on faces and verify it.

    adaptface train --config=dalora --workdir=runs/exp003 --benchmark lfw=/data/lfw.bin

Running the same command again resumes the run.
"""

from __future__ import annotations

import argparse

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.parser import Parser
from adaptface_jax.cli.training_flags import add_training_flags
from adaptface_jax.config.schema import Config


def main(args: argparse.Namespace) -> None:
    """Train and report."""
    from adaptface_jax.train.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "", settings=(Config,))
    result.add_argument(
        "--benchmark", action="append", metavar="NAME=PATH", help="verify on this; repeatable, replaces data.benchmarks"
    )
    add_training_flags(result)
    return result


if __name__ == "__main__":
    run_command(main, parser())
