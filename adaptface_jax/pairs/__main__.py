"""Draw verification pairs from identity folders, of people that training then leaves out.

    adaptface pairs crops/ --out=crops/pairs.csv --people=0.2 --domains="pose=left|right; light=dark"
    adaptface train --config.data.train=crops/ --config.data.exclude=crops/pairs.csv --benchmark held=crops/pairs.csv
    adaptface pairs crops/ --out=crops/pairs.csv --holdout=0.2 --bin
    adaptface train --config.data.train=crops/pairs.train.csv --benchmark held=crops/pairs.bin

--holdout also writes the list of the other people's images, --bin also an InsightFace pack.

Half genuine, half impostor, no two images twice, people evenly, folds of different people. With `--domains`, made of
the labels as `data.domains` makes them, the pairs cross conditions: every cell of two of them (`ordinary` is one) gets
equally many pairs as far as there are any, half of them genuine. The same seed draws the same pairs.
"""

from __future__ import annotations

import argparse

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.outputs import output_file
from adaptface_jax.cli.parser import Parser


def main(args: argparse.Namespace) -> None:
    """Open the folders and their labels, choose the people, draw, write, say what came out."""
    from adaptface_jax.pairs.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    result.add_argument("source", metavar="SRC", help="a folder with a folder for each identity")
    result.add_argument(
        "--out", type=output_file, required=True, metavar="FILE.csv", help="the list; its paths are those within SRC"
    )
    result.add_argument("--bin", action="store_true", help="also write FILE.bin, an InsightFace pack of the same pairs")
    held = result.add_mutually_exclusive_group()
    held.add_argument(
        "--holdout", type=float, metavar="P", help="as --people, and write the others' images as FILE.train.csv"
    )
    held.add_argument("--people", type=float, default=0.2, metavar="P", help="how many, or which part [%(default)s]")
    result.add_argument("--pairs", type=int, default=3000, metavar="N", help="how many at most [%(default)s]")
    result.add_argument("--seed", type=int, default=0, help="of the people and the pairs [%(default)s]")
    result.add_argument("--labels", default="", metavar="FILE", help="table of labels [SRC/labels.csv]")
    result.add_argument("--domains", default="", metavar="TERMS", help="conditions to cross, as data.domains")
    return result


if __name__ == "__main__":
    run_command(main, parser())
