"""Label every image in a dataset from its pixels: head pose, lighting and sharpness.

    adaptface annotate crops/ --out=crops/labels.csv
    adaptface train --config.data.train=crops/ --config.data.domains="pose=left|right; light=dark; ordinary" ...

SRC is anything that data.train takes, or any folder of images: photographs or crops, in which the largest face counts.
The table has one row per image: the numbers yaw, pitch, roll (degrees), brightness (0 to 255), contrast, side (left
half against right, -1 to 1), detail, face_size (pixels between the eyes), faces; and, from these by thresholds, the
words pose (frontal, left, right, up, down), light (good, dark, uneven) and sharpness (sharp, blurred). Age cannot be
derived from them. The extra `align` installs the detector.

If killed at any moment, the same command resumes. With other thresholds it only rewrites the table: the measurements
are kept in a journal next to it.
"""

from __future__ import annotations

import argparse
import dataclasses

from adaptface_jax.annotate.conditions import Thresholds
from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.outputs import output_file
from adaptface_jax.cli.parser import Parser
from adaptface_jax.core.processors import cores


def main(args: argparse.Namespace) -> None:
    """Open the dataset, measure, write the table, report the outcome."""
    from adaptface_jax.annotate.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    result.add_argument(
        "source", metavar="SRC", help="anything that data.train takes, or a folder of images at any depth"
    )
    result.add_argument(
        "--out",
        type=output_file,
        required=True,
        metavar="FILE.csv",
        help="the table to write; `train` finds SRC/labels.csv",
    )
    result.add_argument(
        "--processes", type=int, default=cores(), metavar="N", help="worker processes [one per core: %(default)s]"
    )
    for field in dataclasses.fields(Thresholds):
        result.add_argument(
            f"--{field.name}",
            type=float,
            default=field.default,
            metavar="X",
            help=f"{field.metadata['doc']} [%(default)s]",
        )
    return result


if __name__ == "__main__":
    run_command(main, parser())
