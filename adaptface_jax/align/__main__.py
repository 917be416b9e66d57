"""Align every photograph of a folder: the largest face of each, by five landmarks, as a 112x112 crop.

    adaptface align photographs/ crops/
    adaptface align lfw/ crops/ --prefer=centre --fallback=centre

Names and folders stay, so lists of pairs and identity folders work on the crops. The extra `align` brings the detector.
Faces are looked for at several scales, and where there is none in the photograph turned by quarters. Killed at any
moment, the same command goes on. DST/no_face.txt lists the photographs in which no face was found, DST/align.jsonl also
those with several faces and those that cannot be read.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path

from adaptface_jax.align.crop import PREFER
from adaptface_jax.align.folder import JOURNAL, NO_FACE, Options, Outcome, align_folder, check_apart
from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.outputs import output_folder
from adaptface_jax.cli.parser import Parser
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import disk_may_fill, locked
from adaptface_jax.core.processors import cores
from adaptface_jax.core.progress import Progress
from adaptface_jax.core.text import shown
from adaptface_jax.data.image_files import ImageFiles
from adaptface_jax.training.stopping import StopSignals


def main(args: argparse.Namespace) -> None:
    """Align, say what came out."""
    target = Path(args.target)
    if not 0 <= args.margin <= 2:
        raise InputError(f"--margin: {args.margin:g} is out of range; expected 0 to 2, e.g. 0.25")
    if args.processes < 1:
        raise InputError(f"--processes: {args.processes} is out of range; expected at least 1")
    options = Options(args.prefer, args.margin, args.all, args.fallback is not None)
    images = ImageFiles(Path(args.source))
    check_apart(Path(args.source), target)
    busy = f"another process writes in {shown(args.target)}; wait for it, or choose another folder"
    progress = Progress(len(images), label="aligning", unit="image")
    with StopSignals() as stop, stop.at_once(), disk_may_fill(target), locked(target, busy), progress:
        found = functools.partial(show, progress)
        outcome = align_folder(images, Path(args.source), target, options, args.processes, found)
    print("\n".join([*outcome_lines(args.target, outcome, options, len(images)), *images.passed_over.lines()]))


def outcome_lines(target: str, outcome: Outcome, options: Options, images: int) -> list[str]:
    """What was written, and what is not one crop of one face."""
    kept = f" ({outcome.kept:,} kept from before)" if outcome.kept else ""
    lines = [f"written: {target}, {outcome.crops:,} crops{kept} of {images:,} images"]
    if outcome.several:
        taken = (
            "all were" if options.every else "the largest was" if options.prefer == PREFER[0] else "the middle one was"
        )
        lines.append(f"several faces in {outcome.several:,}: {taken} taken, see {JOURNAL}")
    if outcome.no_face:
        middle = outcome.middle
        instead = (
            f", the middle of {middle:,} was taken instead" if middle else "; --fallback=centre takes their middle"
        )
        lines.append(f"no face in {len(outcome.no_face):,}: see {NO_FACE}{instead}")
    if outcome.unreadable:
        first = next(iter(outcome.unreadable.values()))
        lines.append(f"unreadable {len(outcome.unreadable):,}, first {first}; see {JOURNAL}")
    return lines


def show(progress: Progress, done: int, outcome: Outcome) -> None:
    """The count, and how many had no face."""
    progress.show(done, {"no face": str(len(outcome.no_face))})


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    result.add_argument("source", metavar="SRC", help="a folder of photographs, at any depth")
    result.add_argument(
        "target", type=output_folder, metavar="DST", help="a folder for the crops; what it has already is kept"
    )
    result.add_argument("--prefer", choices=PREFER, default=PREFER[0], help="which of several faces [%(default)s]")
    result.add_argument("--all", action="store_true", help="every face: NAME.face1.jpg, NAME.face2.jpg ...")
    result.add_argument("--fallback", choices=("centre",), help="where no face is found, take the photograph's middle")
    result.add_argument(
        "--margin", type=float, default=0.0, metavar="M", help="show so much of a crop more to each side [%(default)s]"
    )
    result.add_argument(
        "--processes", type=int, default=cores(), metavar="N", help="processes that align [one a core: %(default)s]"
    )
    return result


if __name__ == "__main__":
    run_command(main, parser())
