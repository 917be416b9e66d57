"""Make report pages: one for each run, and one that compares all of them.

    adaptface report runs/exp001 runs/exp003 --out=report

Open report/index.html: the runs side by side, the settings in which they differ and their curves overlaid. For each
benchmark that two face runs share it reports whether their difference is significant. The runs must be all face runs,
or all classification runs. An unfinished run is shown up to its last step.
"""

from __future__ import annotations

import argparse

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.outputs import output_folder
from adaptface_jax.cli.parser import Parser


def main(args: argparse.Namespace) -> None:
    """Read every run, build every page, then write them."""
    from adaptface_jax.report.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    result.add_argument("runs", nargs="+", metavar="RUN", help="the folder of a finished or running training")
    result.add_argument("--out", type=output_folder, required=True, metavar="DIR", help="folder for the pages")
    return result


if __name__ == "__main__":
    run_command(main, parser())
