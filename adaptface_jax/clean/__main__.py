"""List probable label errors in a face dataset: twins, outliers, and people who are also in a benchmark.

    adaptface clean crops/ --run=runs/exp003 --out=suspects.csv --sheet=suspects.jpg
    adaptface clean crops/ --backbone=builtin --out=suspects.csv --benchmark lfw=/data/lfw.bin

Twins are one person under two names; outliers are images closer to someone else than to the rest of their own person.
Rows are sorted by confidence; they depend on the model, so review them before removing anything. Nothing is deleted or
changed. Images that cannot be read are listed as well.
"""

from __future__ import annotations

import argparse

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.model_flags import add_model_flags
from adaptface_jax.cli.outputs import output_file
from adaptface_jax.cli.parser import Parser


def main(args: argparse.Namespace) -> None:
    """Open the dataset and the model, embed, find suspects, write, report the outcome."""
    from adaptface_jax.clean.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    result.add_argument("source", metavar="SRC", help="anything that data.train takes")
    add_model_flags(result)
    result.add_argument(
        "--out",
        type=output_file,
        required=True,
        metavar="FILE.csv",
        help="the list: kind, image, other, similarity, own",
    )
    result.add_argument(
        "--sheet", type=output_file, metavar="FILE.jpg", help="an image of the first suspects, side by side"
    )
    result.add_argument(
        "--benchmark", action="append", default=[], metavar="NAME=PATH", help="also look for its people; repeatable"
    )
    result.add_argument(
        "--threshold",
        type=float,
        metavar="X",
        help="cosine from which two people count as one [from the dataset itself]",
    )
    result.add_argument("--no_flip", action="store_true", help="do not add the embeddings of the mirror images")
    return result


if __name__ == "__main__":
    run_command(main, parser())
