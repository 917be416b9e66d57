"""TinyFace as published: faces of a few pixels, searched among other images of the same people and many distractors.

    FOLDER/Gallery_Match/12_3.jpg                   ID_n.jpg
    FOLDER/Probe/12_1.jpg
    FOLDER/Gallery_Distractor/1.jpg                 any names; may be missing
    FOLDER/gallery_match_img_ID_pairs.mat           gallery_set, gallery_ids; optional: the identities
    FOLDER/probe_img_ID_pairs.mat                   probe_set, probe_ids

FOLDER, or Testing_Set or tinyface/Testing_Set in it. Without the lists, as in the aligned copies in common use, the
file names give the identities. Cheng, Zhu and Gong, "Low-Resolution Face Recognition", ACCV 2018.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural, shown
from adaptface_jax.data.benchmarks.pair_list import Files
from adaptface_jax.data.image_files import images_below
from adaptface_jax.data.skipped_files import SkippedFiles

PARTS = ("Gallery_Match", "Probe", "Gallery_Distractor")
_PLACES = (".", "Testing_Set", "tinyface/Testing_Set")
_LISTS = {"Gallery_Match": ("gallery_match", "gallery"), "Probe": ("probe", "probe")}
_NAME = re.compile(r"(\d{1,18})_.*")


@dataclasses.dataclass(frozen=True)
class TinyFace:
    """paths: M files: the gallery's, then the probes, then the distractors. person: int64 [M], negative and unique for
    distractors. counts: how many in each of PARTS."""

    paths: list[str]
    person: np.ndarray
    counts: tuple[int, int, int]
    skipped_files: SkippedFiles
    folder: Path

    @property
    def said(self) -> str:
        """The contents, in one line."""
        gallery, probes, distractors = self.counts
        others = plural(distractors, "distractor") if distractors else f"no distractors ({PARTS[2]} is missing)"
        return (
            f"TinyFace {shown(str(self.folder))}: {plural(probes, 'probe')}, {plural(gallery, 'image')} in the "
            f"gallery, {others}"
        )

    @property
    def images(self) -> Sequence[bytes]:
        """The files, read on access."""
        return Files(self.paths)


def open_tinyface(folder: Path) -> TinyFace:
    """Raises InputError for folders that are missing or empty, lists that cannot be read or name no file, and file
    names without an identity."""
    inner = [folder / place for place in _PLACES]
    root = next((place for place in inner if (place / PARTS[0]).is_dir() and (place / PARTS[1]).is_dir()), None)
    if root is None:
        raise InputError(
            f"--tinyface: {shown(str(folder))} does not hold {PARTS[0]} and {PARTS[1]}; expected TinyFace's "
            "Testing_Set, or a folder that holds it"
        )
    skipped = SkippedFiles()
    paths: list[str] = []
    people: list[int] = []
    counts = []
    for part in PARTS:
        files = list(images_below(root / part, skipped)) if part != PARTS[2] or (root / part).is_dir() else []
        if part == PARTS[2]:
            person = [-1 - number for number in range(len(files))]
        else:
            files, person = _who_is_who(root, part, files, skipped)
        paths += [os.path.join(root, part, file) for file in files]
        people += person
        counts.append(len(files))
    return TinyFace(paths, np.array(people, np.int64), (counts[0], counts[1], counts[2]), skipped, root)


def _who_is_who(root: Path, part: str, files: list[str], skipped: SkippedFiles) -> tuple[list[str], list[int]]:
    """The files of a part that count, and their identities: from the list if there is one, else from their names."""
    if not files:
        raise InputError(f"{shown(str(root / part))}: holds no image; expected files ID_n.jpg")
    prefix, noun = _LISTS[part]
    listed = root / f"{prefix}_img_ID_pairs.mat"
    if not listed.is_file():
        found = [_NAME.fullmatch(os.path.basename(file)) for file in files]
        wrong = [file for file, match in zip(files, found, strict=True) if match is None]
        if wrong:
            raise InputError(
                f"{shown(str(root / part / wrong[0]))}: its name has no identity (nor do {len(wrong) - 1} others); "
                f"expected ID_n.jpg, or the list {listed.name}"
            )
        return files, [int(match[1]) for match in found if match]
    names, person = _read_list(listed, f"{noun}_set", f"{noun}_ids")
    # Aligned copies keep the name and may change the extension.
    place = {os.path.splitext(os.path.basename(file))[0]: file for file in files}
    stems = [os.path.splitext(os.path.basename(name))[0] for name in names]
    missing = [name for name, stem in zip(names, stems, strict=True) if stem not in place]
    if missing:
        raise InputError(
            f"{shown(str(listed))}: {len(missing)} of {len(names)} images are missing from {part}, e.g. "
            f"{shown(missing[0])}"
        )
    twice = [stem for stem, count in collections.Counter(stems).items() if count > 1]
    if twice:
        raise InputError(f"{shown(str(listed))}: {shown(twice[0])} is listed twice; expected each image once")
    if unlisted := len(files) - len(names):
        skipped.images[f"in {part} that {listed.name} does not list"] += unlisted
    return [place[stem] for stem in stems], person


def _read_list(file: Path, set_name: str, ids_name: str) -> tuple[list[str], list[int]]:
    """The names in a .mat list, and their identities."""
    try:
        held: dict[str, Any] = loadmat(str(file))
    except Exception as error:  # SciPy may raise anything for a corrupted file
        raise InputError(
            f"{shown(str(file))}: is not a readable MATLAB file ({type(error).__name__}); use the published one, or "
            "remove it if the names are ID_n.jpg"
        ) from None
    if not {set_name, ids_name} <= held.keys():
        raise InputError(f"{shown(str(file))}: does not hold {set_name} and {ids_name}; expected TinyFace's own list")
    cells = [np.ravel(cell) for cell in np.ravel(held[set_name])]
    names = [str(cell[0]).strip() if cell.size == 1 else "" for cell in cells]
    ids = np.ravel(held[ids_name])
    if len(ids) != len(names) or not len(ids) or ids.dtype.kind not in "uif" or not np.isfinite(ids).all():
        raise InputError(
            f"{shown(str(file))}: {len(names)} names in {set_name} and {len(ids)} numbers in {ids_name}; expected "
            "one number per name"
        )
    if not all(names) or (ids != np.floor(ids)).any() or (ids < 0).any() or (ids > 2**53).any():
        raise InputError(f"{shown(str(file))}: holds an invalid name or person number; expected TinyFace's own list")
    return names, [int(number) for number in ids]
