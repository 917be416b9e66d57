"""A threshold for your own photographs, without labels.

    adaptface calibrate --run=runs/exp003 photographs/
    adaptface verify --run=runs/exp003 anna.jpg somebody.jpg --far=1e-2

The folder holds photographs as they come, of as many people as possible and few of each, at any depth; all their pairs
together show how similar strangers are here, and no labels are needed. Pairs that can only be of one person are left
out; any that remain make a threshold stricter than asked for, never looser. Each FAR gets a threshold with 95%
intervals, or the number of photographs it would take.

The thresholds are kept in the run, where `verify`, `identify` and `adaptface_jax.open` prefer them to those of its
benchmarks; --out writes them to a file that `--results` (in Python `results`) names. Photographs of 112x112 pixels, or
of the run's training size, are treated as aligned crops; in all others the extra `align` finds and aligns the largest
face.
"""

from __future__ import annotations

import argparse

from adaptface_jax.api.site_name import SITE
from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.model_flags import add_model_flags
from adaptface_jax.cli.outputs import output_file
from adaptface_jax.cli.parser import Parser


def main(args: argparse.Namespace) -> None:
    """List the photographs, open the model, embed, find the thresholds, print and store them."""
    from adaptface_jax.calibrate.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    result.add_argument("pile", metavar="FOLDER", help="photographs of many people, at any depth, without labels")
    add_model_flags(result, batch_size=64)
    result.add_argument(
        "--out", type=output_file, metavar="FILE.json", help=f"the file to write [{SITE} in the folder of the run]"
    )
    return result


if __name__ == "__main__":
    run_command(main, parser())
