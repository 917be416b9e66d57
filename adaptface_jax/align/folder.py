"""A folder of photographs to a folder of crops with the same names, resumable."""

from __future__ import annotations

import dataclasses
import functools
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from adaptface_jax.align.crop import Aligner
from adaptface_jax.align.detector import use_one_thread
from adaptface_jax.align.prefer import PREFER, today
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import clear_remains_in, write_bytes, write_text
from adaptface_jax.core.journal import Journal
from adaptface_jax.core.outputs import check_inside
from adaptface_jax.core.text import shown
from adaptface_jax.core.workers import spread
from adaptface_jax.data.decode import decode
from adaptface_jax.data.image_files import ImageFiles, read_file
from adaptface_jax.data.image_formats import FORMATS

# A line for each photograph that is not simply one face and one crop: {"path", "faces"} or {"path", "error"}, and for
# one without a face whether its center was cropped; the first line holds the options.
JOURNAL = "align.jsonl"
NO_FACE = "no_face.txt"
MIDDLE = "middle"
_ABOUT = ""
_NUMBERED = re.compile(r"\.face\d+(\.[^.]*)?$")

# The formats that store a crop as faithfully as they stored its photograph.
KEPT = ("JPEG", "PPM", "BMP", "WEBP", "TIFF")
QUALITY: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
}

Found = tuple[dict[str, Any], dict[str, bytes]]


@dataclasses.dataclass(frozen=True)
class Options:
    """prefer, margin: as in Aligner. every: a crop of each face, NAME.face1.jpg the preferred one's. fallback: crop the
    center of a photograph in which no face is found."""

    prefer: str = PREFER[0]
    margin: float = 0.0
    every: bool = False
    fallback: bool = False

    def noted(self) -> dict[str, Any]:
        """What all crops in a folder must share; the fallback may be added later."""
        return {"prefer": self.prefer, "margin": self.margin, "every": self.every}


@dataclasses.dataclass
class Outcome:
    """Paths relative to the source, sorted. aligned: how many have a crop of a face, `kept` of them from before.
    crops: how many there are, center crops included. several: how many showed several faces. no_face: those without a
    face, middle: how many of them were cropped at the center. unreadable: with the reason."""

    aligned: int = 0
    crops: int = 0
    kept: int = 0
    several: int = 0
    middle: int = 0
    no_face: list[str] = dataclasses.field(default_factory=list)
    unreadable: dict[str, str] = dataclasses.field(default_factory=dict)


def check_apart(source: Path, target: Path) -> None:
    """Raise InputError if one of the folders is inside the other."""
    inside, outside = source.resolve(), target.resolve()
    if inside == outside or inside in outside.parents or outside in inside.parents:
        raise InputError(f"{target}: overlaps with {source}; expected a separate folder for the crops")


def align_folder(
    images: ImageFiles,
    source: Path,
    target: Path,
    options: Options,
    processes: int,
    show: Callable[[int, Outcome], None],
) -> Outcome:
    """Writes the crop of each image under `source` to the same relative path under `target`.

    Images that have a crop or a line in `target`/align.jsonl are not processed again: if killed at any moment, the same
    call resumes. At the end, `target`/no_face.txt lists the photographs in which no face was found.

    show: called with how many are done and the outcome so far.
    Raises InputError if existing crops were made with other options, if a photograph is named like a numbered crop of
    another one, or if the extra `align` is missing; RunError if a process dies.
    """
    names = [os.path.relpath(path, source) for path in images.paths]
    if options.every and (taken := next((name for name in names if _NUMBERED.search(name)), None)):
        raise InputError(f"--all: {shown(taken)} is named like a numbered crop of another photograph; rename it")
    check_inside(target, (JOURNAL, NO_FACE, *names))
    for folder in {target, *((target / name).parent for name in names)}:
        clear_remains_in(folder)
    work = functools.partial(align_named, Aligner(options.prefer, options.margin), source, target, options)
    journal = open_journal(target, options)
    missing = [name for name in names if not is_done(target, name, journal.lines.get(name), options)]
    outcome, waiting = Outcome(), set(missing)
    results = spread(work, functools.partial(_worker, source, target, options), missing, processes)
    for done, name in enumerate(names, start=1):
        kept = name not in waiting
        if not kept:
            line, crops = next(results)
            if line and journal.lines.get(name) != line:
                journal.add(name, line)
            for crop, data in crops.items():
                write_bytes(target / crop, data)
        _note(outcome, name, journal.lines.get(name, {}), kept, options)
        show(done, outcome)
    write_text(target / NO_FACE, "".join(f"{shown(name)}\n" for name in outcome.no_face))
    return outcome


def _note(outcome: Outcome, name: str, line: dict[str, Any], kept: bool, options: Options) -> None:
    faces = line.get("faces", 1)
    if "error" in line:
        outcome.unreadable[name] = line["error"]
    elif faces == 0:
        outcome.no_face.append(name)
        outcome.middle += MIDDLE in line
        outcome.crops += MIDDLE in line
    else:
        outcome.aligned += 1
        outcome.crops += faces if options.every else 1
        outcome.kept += kept
        outcome.several += faces > 1


@dataclasses.dataclass(frozen=True)
class _Line:
    error: str = ""
    faces: int = 1


def kind_of(name: str, line: dict[str, Any]) -> type:
    """The type of a line of the journal."""
    return dict if name == _ABOUT else _Line


def open_journal(target: Path, options: Options) -> Journal:
    """The journal of a folder of crops; raises InputError if these were made with other options."""
    fresh = not target.is_dir() or not any(target.iterdir())
    target.mkdir(parents=True, exist_ok=True)
    journal = Journal(target / JOURNAL, kind_of)
    about = journal.lines.get(_ABOUT, options.noted() if fresh else Options().noted())
    about |= {"prefer": today(about["prefer"])} if "prefer" in about else {}
    if about != options.noted():
        given = " ".join(f"--{'all' if name == 'every' else name}={value}" for name, value in about.items())
        raise InputError(
            f"{shown(str(target))}: its crops were made with {given}; use the same options, or choose another DST"
        )
    if _ABOUT not in journal.lines:
        journal.add(_ABOUT, about)
    return journal


def is_done(target: Path, name: str, line: dict[str, Any] | None, options: Options) -> bool:
    """Whether a photograph with this line in the journal needs no more work."""
    if line is None:
        return not options.every and (target / name).exists()
    if "error" in line:
        return True
    faces = line.get("faces", 1)
    if faces == 0:
        return MIDDLE in line and (target / name).exists() if options.fallback else True
    crops = [numbered(name, place) for place in range(1, faces + 1)] if options.every else [name]
    return all((target / crop).exists() for crop in crops)


def numbered(name: str, place: int) -> str:
    """The file name of the crop of a photograph's face number `place`, from 1."""
    stem, suffix = os.path.splitext(name)
    return f"{stem}.face{place}{suffix}"


def align_named(aligner: Aligner, source: Path, target: Path, options: Options, name: str) -> Found:
    """Aligns one photograph; the crops are in the format that its suffix names.

    Returns the journal line, and the crops by name to be written after it: if killed in between, the line calls for
    them, whereas a crop without its line would pass for that of a single face. The crop of a single face, which needs
    no line, is written here.
    """
    try:
        photograph = decode(read_file(os.path.join(source, name)), shown(os.path.join(source, name)))
    except InputError as error:
        return {"error": str(error)}, {}
    suffix, faces, crops = Path(name).suffix.lower(), 0, dict[str, bytes]()
    for place, crop in enumerate(aligner.each(photograph), start=1):
        faces = crop.faces
        crops[numbered(name, place) if options.every else name] = encoded(crop.image, suffix)
        if not options.every:
            break
    if not faces and options.fallback:
        return {"faces": 0, MIDDLE: True}, {name: encoded(aligner.center(photograph), suffix)}
    if faces != 1 or options.every:
        return {"faces": faces}, crops
    write_bytes(target / name, crops[name])
    return {}, {}


def _worker(source: Path, target: Path, options: Options) -> functools.partial[Found]:
    use_one_thread()
    return functools.partial(align_named, Aligner(options.prefer, options.margin), source, target, options)


def encoded(image: np.ndarray, suffix: str) -> bytes:
    """The bytes of an image file with this suffix: lossless, or JPEG at quality 95 without chroma subsampling.

    A crop keeps the name of its photograph; if that format loses colors or cannot be written (GIF, AVIF, HEIC, none),
    the file holds PNG data, which readers recognize by its first bytes.
    """
    kind = next((name for name in KEPT if suffix in FORMATS[name]), "PNG")
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **QUALITY.get(kind, {}))
    return file.getvalue()
