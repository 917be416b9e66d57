"""Look at a folder of people and print the commands from there to a report and a decision.

    adaptface init photographs/
    adaptface init photographs/ --out=mine.py

A folder for each person, photographs or aligned crops of them. The commands, run in order, align, hold out people,
train, report and decide. Rank, steps, batch and rate come from a rule by the number of images, which is printed.
Nothing is written but the config file that --out names.
"""

from __future__ import annotations

import argparse

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.outputs import output_file
from adaptface_jax.cli.parser import Parser


def main(args: argparse.Namespace) -> None:
    """Look, propose, write the config file where one is asked for."""
    from adaptface_jax.init.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    result.add_argument("folder", metavar="FOLDER", help="a folder with a folder of images for each person")
    result.add_argument("--into", metavar="DIR", help="where the commands will write [runs/NAME of the folder]")
    result.add_argument("--out", type=output_file, metavar="FILE.py", help="write the settings as a config file")
    return result


if __name__ == "__main__":
    run_command(main, parser())
