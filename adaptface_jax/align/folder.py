"""A whole folder of photographs to a folder of crops with the same names, resumable."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from adaptface_jax.align.crop import Aligner
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import write_bytes, write_text
from adaptface_jax.core.journal import Journal
from adaptface_jax.core.text import shown
from adaptface_jax.data.decode import decode
from adaptface_jax.data.image_files import ImageFiles, read_file
from adaptface_jax.data.image_formats import FORMATS

# A line for each photograph that is more than one face and one crop: {"path", "faces"} or {"path", "error"}.
JOURNAL = "align.jsonl"
NO_FACE = "no_face.txt"

# The forms that hold a crop as well as its photograph was held.
KEPT = ("JPEG", "PPM", "BMP", "WEBP", "TIFF")
QUALITY: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
}


@dataclasses.dataclass
class Outcome:
    """Paths relative to the source, sorted. aligned: how many have a crop, `kept` of them from before.
    no_face: without one. several: how many showed several faces. unreadable: with the reason."""

    aligned: int = 0
    kept: int = 0
    several: int = 0
    no_face: list[str] = dataclasses.field(default_factory=list)
    unreadable: dict[str, str] = dataclasses.field(default_factory=dict)


def align_folder(images: ImageFiles, source: Path, target: Path, show: Callable[[int, Outcome], None]) -> Outcome:
    """Writes the crop of every one of the images below `source` to the same place and name below `target`.

    What has a crop or a line in `target`/align.jsonl is not looked at again: killed at any moment, the same call goes
    on. `target`/no_face.txt lists, at the end, the photographs in which no face was found.

    show: called with how many are done and the outcome so far.
    Raises InputError where one folder lies in the other, or the extra `align` is missing.
    """
    inside, outside = source.resolve(), target.resolve()
    if inside == outside or inside in outside.parents or outside in inside.parents:
        raise InputError(f"{target}: is, holds or lies in {source}; expected a folder of its own for the crops")
    aligner = Aligner()
    target.mkdir(parents=True, exist_ok=True)
    journal = Journal(target / JOURNAL)
    outcome = Outcome()
    for done, path in enumerate(images.paths, start=1):
        name = os.path.relpath(path, source)
        crop = target / name
        kept = crop.exists()
        if not kept and name not in journal.lines:
            line = align_file(aligner, path, crop)
            if line:
                journal.add(name, line)
        line = journal.lines.get(name, {})
        if "error" in line:
            outcome.unreadable[name] = line["error"]
        elif line.get("faces") == 0:
            outcome.no_face.append(name)
        else:
            outcome.aligned += 1
            outcome.kept += kept
            outcome.several += "faces" in line
        show(done, outcome)
    write_text(target / NO_FACE, "".join(f"{shown(name)}\n" for name in outcome.no_face))
    return outcome


def align_file(aligner: Aligner, path: str, target: Path) -> dict[str, Any]:
    """Writes the crop of one photograph, in the format that the file's name says; returns what is to be noted of it."""
    try:
        photograph = decode(read_file(path), shown(path))
    except InputError as error:
        return {"error": str(error)}
    crop = aligner(photograph)
    if crop is None:
        return {"faces": 0}
    write_bytes(target, encoded(crop.image, target.suffix.lower()))
    return {"faces": crop.faces} if crop.faces > 1 else {}


def encoded(image: np.ndarray, suffix: str) -> bytes:
    """The bytes of an image file that is named so: lossless, or JPEG of quality 95 without chroma subsampling.

    A crop keeps the name of its photograph; where that is of a form that loses colours or cannot be written (GIF, AVIF,
    HEIC, none), what stands in the file is PNG, which readers know by its first bytes.
    """
    kind = next((name for name in KEPT if suffix in FORMATS[name]), "PNG")
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **QUALITY.get(kind, {}))
    return file.getvalue()
