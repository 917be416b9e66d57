"""What `adaptface doctor` does."""

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
from adaptface_jax.cli.parser import named_paths
from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import to_json
from adaptface_jax.core.version import __version__


def work(args: argparse.Namespace) -> None:
    """Check, print each section when it is known, print the verdict, exit with 1 if there is a fault."""
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
    if args.run:
        benchmarks = named_paths(args.benchmark) if args.benchmark else None
        return check_run(read_run(Path(args.run)), benchmarks), f"the run in {args.run}"
    workdir = Path(args.workdir) if args.workdir else None
    sample = None if args.full else args.sample
    return check_setup(args.config, workdir, sample, look_at=look_at), "before the run"
