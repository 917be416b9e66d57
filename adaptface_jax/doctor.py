"""Find what is wrong with a set-up before hours are spent, or with a run after they were.

    adaptface doctor --config=dalora --config.data.train=/data/faces --benchmark lfw=lfw.bin
    adaptface doctor --run=runs/exp003

With --config: data, labels, benchmarks, overlap, backbone, memory, disk and a few real steps; nothing is written.
With --run: what the run's own records say, and of a face run its embeddings too.

Exit status: 0 no fault (there may be warnings), 1 faults found, 2 wrong flags or settings.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from adaptface_jax.align.benchmark_images import look_at
from adaptface_jax.checks.finding import Section, Severity, verdict
from adaptface_jax.checks.run.records import read_run
from adaptface_jax.checks.run.run_checks import check_run
from adaptface_jax.checks.setup.setup_checks import check_setup
from adaptface_jax.checks.terminal import Report, as_json
from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.outputs import output_file
from adaptface_jax.cli.parser import Parser, named_paths
from adaptface_jax.config.schema import Config
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import to_json
from adaptface_jax.core.version import __version__

SAMPLE = 1000


def main(args: argparse.Namespace) -> None:
    """Check, print each section when it is known, say the verdict, leave with 1 where there is a fault."""
    found, subject = _checks(args)
    print(f"adaptface_jax {__version__} doctor: {subject}", flush=True)
    report, sections = Report(), []
    for section in found:
        sections.append(section)
        report.section(section)
    if args.output:
        write_text(Path(args.output), to_json(as_json(sections, subject), indent=2) + "\n")
        print(f"\nwritten: {args.output}")
    report.verdict(sections)
    if verdict(sections)[0] is Severity.FAULT:
        sys.exit(1)


def _checks(args: argparse.Namespace) -> tuple[Iterator[Section], str]:
    if args.sample < 1:
        raise InputError(f"--sample: {args.sample} is out of range; expected at least 1")
    if args.run and args.config:
        raise InputError("--run: a finished run has its own settings; give either --run or --config")
    if args.run:
        benchmarks = named_paths(args.benchmark) if args.benchmark else None
        return check_run(read_run(Path(args.run)), benchmarks), f"the run in {args.run}"
    if args.config is None:
        raise InputError("doctor: name a set-up with --config=FILE, or a run with --run=WORKDIR (see --help)")
    workdir = Path(args.workdir) if args.workdir else None
    sample = None if args.full else args.sample
    return check_setup(args.config, workdir, sample, look_at=look_at), "before the run"


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
