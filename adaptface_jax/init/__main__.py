"""Inspect a folder of people and print the commands from there to a report and a decision.

    adaptface init photographs/
    adaptface init photographs/ --out=mine.py

One folder per person, of photographs or aligned crops. The commands, run in order, align, hold out people, train,
report and decide. Rank, steps, batch size and learning rate follow from the number of images by a rule, which is
printed. Nothing is written except the config file that --out names.
"""

from __future__ import annotations

import argparse

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.outputs import output_file
from adaptface_jax.cli.parser import Parser


def main(args: argparse.Namespace) -> None:
    """Inspect, propose, write the config file if one is requested."""
    from adaptface_jax.init.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    result.add_argument("folder", metavar="FOLDER", help="a folder with one folder of images per person")
    result.add_argument("--into", metavar="DIR", help="where the commands will write [runs/NAME_OF_FOLDER]")
    result.add_argument("--out", type=output_file, metavar="FILE.py", help="write the settings as a config file")
    return result


if __name__ == "__main__":
    run_command(main, parser())
