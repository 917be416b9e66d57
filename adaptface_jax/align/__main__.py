"""Align every photograph of a folder: the largest face of each, by five landmarks, as a 112x112 crop.

    adaptface align photographs/ crops/

Names and folders stay, so lists of pairs and identity folders work on the crops. The extra `align` brings the detector.
Killed at any moment, the same command goes on. DST/no_face.txt lists the photographs in which no face was found,
DST/align.jsonl also those with several faces and those that cannot be read.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path

from adaptface_jax.align.folder import JOURNAL, NO_FACE, Outcome, align_folder
from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.parser import Parser
from adaptface_jax.core.files import disk_may_fill
from adaptface_jax.core.progress import Progress
from adaptface_jax.data.image_files import ImageFiles


def main(args: argparse.Namespace) -> None:
    """Align, say what came out."""
    target = Path(args.target)
    images = ImageFiles(Path(args.source))
    with disk_may_fill(target), Progress(len(images), label="aligning", unit="image") as progress:
        outcome = align_folder(images, Path(args.source), target, functools.partial(show, progress))
    kept = f" ({outcome.kept:,} kept from before)" if outcome.kept else ""
    print(f"written: {target}, {outcome.aligned:,} crops{kept} of {len(images):,} images")
    if outcome.several:
        print(f"several faces in {outcome.several:,}: the largest was taken, see {JOURNAL}")
    if outcome.no_face:
        print(f"no face in {len(outcome.no_face):,}: see {NO_FACE}")
    if outcome.unreadable:
        print(f"unreadable {len(outcome.unreadable):,}, first {next(iter(outcome.unreadable.values()))}; see {JOURNAL}")
    for line in images.passed_over.lines():
        print(line)


def show(progress: Progress, done: int, outcome: Outcome) -> None:
    """The count, and how many had no face."""
    progress.show(done, {"no face": str(len(outcome.no_face))})


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    result.add_argument("source", metavar="SRC", help="a folder of photographs, at any depth")
    result.add_argument("target", metavar="DST", help="a folder for the crops; what it has already is kept")
    return result


if __name__ == "__main__":
    run_command(main, parser())
