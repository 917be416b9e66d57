# SPDX-License-Identifier: Apache-2.0
"""Draw verification pairs from identity folders, of people who are then held out of training.

    adaptface pairs crops/ --out=crops/pairs.csv --people=0.2 --domains="pose=left|right; light=dark"
    adaptface train --config.data.train=crops/ --config.data.exclude=crops/pairs.csv --benchmark held=crops/pairs.csv
    adaptface pairs crops/ --out=crops/pairs.csv --holdout=0.2 --bin
    adaptface train --config.data.train=crops/pairs.train.csv --benchmark held=crops/pairs.bin

--holdout also writes the list of the other people's images, --bin also an InsightFace pack.

Half genuine, half impostor; no pair twice, people drawn evenly, no person in two folds. With `--domains`, written as in
`data.domains`, the pairs cross conditions: every two of them (`ordinary` is one) get equally many pairs, as far as the
images allow, half of them genuine. The same seed draws the same pairs.
"""

from __future__ import annotations

import argparse

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.outputs import output_file
from adaptface_jax.cli.parser import Parser
from adaptface_jax.core.flag_values import whole_number


def main(args: argparse.Namespace) -> None:
    """Open the folders and their labels, choose the people, draw, write, report the outcome."""
    from adaptface_jax.pairs.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    result.add_argument("source", metavar="SRC", help="a folder with one folder per identity")
    result.add_argument(
        "--out", type=output_file, required=True, metavar="FILE.csv", help="the list; its paths are relative to SRC"
    )
    result.add_argument("--bin", action="store_true", help="also write FILE.bin, an InsightFace pack of the same pairs")
    held = result.add_mutually_exclusive_group()
    held.add_argument(
        "--holdout", type=float, metavar="P", help="like --people, and list the other people's images in FILE.train.csv"
    )
    held.add_argument("--people", type=float, default=0.2, metavar="P", help="how many, or what fraction [%(default)s]")
    result.add_argument("--pairs", type=int, default=3000, metavar="N", help="at most this many [%(default)s]")
    result.add_argument(
        "--seed",
        type=whole_number(least=0),
        default=0,
        help="random seed for the people and the pairs [%(default)s]",
    )
    result.add_argument("--labels", default="", metavar="FILE", help="label table [SRC/labels.csv]")
    result.add_argument("--domains", default="", metavar="TERMS", help="conditions to cross, as in data.domains")
    return result


if __name__ == "__main__":
    run_command(main, parser())
