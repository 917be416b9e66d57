"""Align every photograph in a folder: the largest face of each, by five landmarks, as a 112x112 crop.

    adaptface align photographs/ crops/
    adaptface align lfw/ crops/ --prefer=center --fallback=center

File and folder names are kept, so pair lists and identity folders work on the crops. The extra `align` installs the
detector. Faces are searched for at several scales and, if none is found, in the photograph rotated by quarter turns.
If killed at any moment, the same command resumes. DST/no_face.txt lists the photographs in which no face was found,
DST/align.jsonl also those with several faces and those that cannot be read.
"""

from __future__ import annotations

import argparse

from adaptface_jax.align.prefer import PREFER, today
from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.outputs import output_folder
from adaptface_jax.cli.parser import Parser
from adaptface_jax.core.processors import cores


def main(args: argparse.Namespace) -> None:
    """Align and report the outcome."""
    from adaptface_jax.align.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    result.add_argument("source", metavar="SRC", help="a folder of photographs, at any depth")
    result.add_argument(
        "target", type=output_folder, metavar="DST", help="a folder for the crops; existing crops are kept"
    )
    result.add_argument(
        "--prefer", type=today, choices=PREFER, default=PREFER[0], help="which of several faces to crop [%(default)s]"
    )
    result.add_argument("--all", action="store_true", help="every face: NAME.face1.jpg, NAME.face2.jpg ...")
    result.add_argument(
        "--fallback", type=today, choices=("center",), help="if no face is found, crop the center of the photograph"
    )
    result.add_argument(
        "--margin",
        type=float,
        default=0.0,
        metavar="M",
        help="extra border on each side, as a fraction of the crop [%(default)s]",
    )
    result.add_argument(
        "--processes", type=int, default=cores(), metavar="N", help="worker processes [one per core: %(default)s]"
    )
    return result


if __name__ == "__main__":
    run_command(main, parser())
