# SPDX-License-Identifier: Apache-2.0
"""What `adaptface align` does."""

from __future__ import annotations

import argparse
import functools
from pathlib import Path

from adaptface_jax.align.folder import JOURNAL, NO_FACE, Options, Outcome, align_folder, check_apart
from adaptface_jax.align.prefer import PREFER
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import disk_may_fill, locked
from adaptface_jax.core.progress import Progress
from adaptface_jax.core.text import plural, shown
from adaptface_jax.data.image_files import ImageFiles
from adaptface_jax.training.stopping import StopSignals


def work(args: argparse.Namespace) -> None:
    """Align and report the outcome."""
    target = Path(args.target)
    if not 0 <= args.margin <= 2:
        raise InputError(f"--margin: {args.margin:g} is out of range; expected 0 to 2, e.g. 0.25")
    if args.processes < 1:
        raise InputError(f"--processes: {args.processes} is out of range; expected at least 1")
    options = Options(args.prefer, args.margin, args.all, args.fallback is not None)
    images = ImageFiles(Path(args.source))
    check_apart(Path(args.source), target)
    busy = f"another process is writing to {shown(args.target)}; wait for it, or choose another folder"
    progress = Progress(len(images), label="aligning", unit="image")
    with StopSignals() as stop, stop.at_once(), disk_may_fill(target), locked(target, busy), progress:
        found = functools.partial(show, progress)
        outcome = align_folder(images, Path(args.source), target, options, args.processes, found)
    print("\n".join([*outcome_lines(args.target, outcome, options, len(images)), *images.skipped_files.lines()]))


def outcome_lines(target: str, outcome: Outcome, options: Options, images: int) -> list[str]:
    """What was written, and the photographs that did not simply yield one crop of one face."""
    kept = f" ({outcome.kept:,} kept from before)" if outcome.kept else ""
    lines = [f"written: {target}, {plural(outcome.crops, 'crop')}{kept} of {plural(images, 'image')}"]
    if outcome.several:
        taken = (
            "all were" if options.every else "the largest was" if options.prefer == PREFER[0] else "the center one was"
        )
        lines.append(f"several faces in {outcome.several:,}: {taken} cropped, see {JOURNAL}")
    if outcome.no_face:
        middle = outcome.middle
        instead = (
            f", the center of {middle:,} was cropped instead" if middle else "; --fallback=center crops their centers"
        )
        lines.append(f"no face in {len(outcome.no_face):,}: see {NO_FACE}{instead}")
    if outcome.unreadable:
        first = next(iter(outcome.unreadable.values()))
        lines.append(f"unreadable {len(outcome.unreadable):,}, the first: {first}; see {JOURNAL}")
    return lines


def show(progress: Progress, done: int, outcome: Outcome) -> None:
    """The progress, and how many had no face."""
    progress.show(done, {"no face": str(len(outcome.no_face))})
