"""Find what is wrong with a set-up before a long run, or with a run after it.

    adaptface doctor --config=dalora --config.data.train=/data/faces --benchmark lfw=lfw.bin
    adaptface doctor --run=runs/exp003

With --config: data, labels, benchmarks, overlap, backbone, memory, disk and a few real steps; nothing is written.
With --run: the run's own records, and for a face run its embeddings too.

Exit status: 0 no fault (there may be warnings), 1 faults found, 2 wrong flags or settings.
"""

from __future__ import annotations

import argparse

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.outputs import output_file
from adaptface_jax.cli.parser import Parser
from adaptface_jax.config.schema import Config
from adaptface_jax.core.errors import InputError

SAMPLE = 1000


def main(args: argparse.Namespace) -> None:
    """Check, print each section when it is known, print the verdict, exit with 1 if there is a fault."""
    if args.sample < 1:
        raise InputError(f"--sample: {args.sample} is out of range; expected at least 1")
    if args.run and args.config:
        raise InputError("--run: a finished run has its own settings; give either --run or --config")
    if not (args.run or args.config):
        raise InputError("doctor: name a set-up with --config=FILE, or a run with --run=WORKDIR (see --help)")
    from adaptface_jax.doctor.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "", settings=(Config,), config_required=False)
    result.add_argument(
        "--run", metavar="WORKDIR", help="the folder of a finished or running training, instead of --config"
    )
    result.add_argument("--workdir", metavar="DIR", help="with --config: where the run would write, to check its disk")
    result.add_argument(
        "--benchmark", action="append", metavar="NAME=PATH", help="repeatable, replaces data.benchmarks"
    )
    result.add_argument("--full", action="store_true", help="read every training image, not a sample")
    result.add_argument("--sample", type=int, default=SAMPLE, metavar="N", help=f"training images to read [{SAMPLE}]")
    result.add_argument("--output", type=output_file, metavar="FILE.json", help="write the findings here")
    return result


if __name__ == "__main__":
    run_command(main, parser())
