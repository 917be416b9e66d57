# SPDX-License-Identifier: Apache-2.0
"""IJB-B and IJB-C by their published lists: faces, the templates and media they belong to, pairs of templates.

    FOLDER/meta/ijbc_face_tid_mid.txt            image template media
    FOLDER/meta/ijbc_template_pair_label.txt     template template 1|0; optional if the 1:N lists exist
    FOLDER/meta/ijbc_name_5pts_score.txt         image x1 y1 .. x5 y5 score; optional: landmarks and detector score
    FOLDER/loose_crop/1.jpg

For the 1:N lists see `ijb_search`. All are found by the ends of their names, in FOLDER/meta or in FOLDER; the images in
loose_crop, in images, or in FOLDER.
Whitelam et al., "IARPA Janus Benchmark-B Face Dataset", 2017; Maze et al., "IARPA Janus Benchmark-C", 2018.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shortened, shown
from adaptface_jax.data.benchmarks.ijb_search import TemplateSearch, read_template_search
from adaptface_jax.data.benchmarks.pair_list import Files
from adaptface_jax.data.decode import decode
from adaptface_jax.data.lookup import Lookup
from adaptface_jax.data.pipeline import STORED_SIZE
from adaptface_jax.data.text_lines import lines

FACES, PAIRS, POINTS = "_face_tid_mid.txt", "_template_pair_label.txt", "_name_5pts_score.txt"


@dataclasses.dataclass(frozen=True)
class TemplateBenchmark:
    """Pairs of templates, each a set of faces that may come from several media (a photograph, the frames of a video).

    images: M encoded faces. keys: their names.
    image, template, media: int64 [R], one row per membership of an image (number) in a template (0..T-1).
    pairs: int64 [P, 2], of templates, none without their list. issame: bool [P]. names: int64 [T], ascending,
      the templates' published numbers. search: the galleries and probes, None without their lists.
    points: float32 [M, 5, 2], landmarks in pixels of the stored image, or None. quality: float32 [M], the detector's
      score, or None.
    """

    images: Sequence[Any]
    keys: Sequence[str]
    image: np.ndarray
    template: np.ndarray
    media: np.ndarray
    pairs: np.ndarray
    issame: np.ndarray
    names: np.ndarray
    points: np.ndarray | None
    quality: np.ndarray | None
    description: str
    search: TemplateSearch | None = None


class Cropped(Sequence[np.ndarray]):
    """Faces cropped by their landmarks; an image stored as a crop is left unchanged.

    crop: (image uint8 [H, W, 3], landmarks [5, 2]) -> uint8 [S, S, 3].
    """

    def __init__(self, benchmark: TemplateBenchmark, crop: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
        self._benchmark, self._crop = benchmark, crop

    def __len__(self) -> int:
        return len(self._benchmark.images)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        key, points = self._benchmark.keys[index], self._benchmark.points
        image = decode(self._benchmark.images[index], key)
        if points is None or image.shape[:2] == (STORED_SIZE, STORED_SIZE):
            return image
        try:
            return self._crop(image, points[index])
        except InputError as error:
            raise InputError(f"{key}: {error}") from None


def open_ijb(folder: Path) -> TemplateBenchmark:
    """Raises InputError for lists that are missing, malformed or do not fit together, and for missing images."""
    if not folder.is_dir():
        raise InputError(
            f"--ijb: {shown(str(folder))} is not a folder; expected one with the lists *{FACES} and *{PAIRS}"
        )
    lists = folder / "meta" if (folder / "meta").is_dir() else folder
    faces = _only(lists, FACES)
    keys, image, template, media = _faces(faces)
    names, template = np.unique(template, return_inverse=True)
    search = read_template_search(lists, names)
    if search is not None and not any(lists.glob(f"*{PAIRS}")):
        pairs, issame = np.empty((0, 2), np.int64), np.empty(0, bool)
    else:
        pairs, issame = _pairs(_only(lists, PAIRS), names, faces.name)
    place = next((folder / name for name in ("loose_crop", "images") if (folder / name).is_dir()), folder)
    lookup = Lookup(place)
    lookup.settle(keys)
    found = [lookup.find(key) for key in keys]
    missing = [str(place / key) for key, name in zip(keys, found, strict=True) if name is None]
    if missing:
        raise InputError(
            f"{shown(str(faces))}: {len(missing)} of {len(keys)} images are missing, e.g. "
            f"{shortened(shown(missing[0]), 200)}"
        )
    paths = [str(place / name) for name in found if name]
    points, quality = _points(lists, keys)
    description = f"templates {shown(str(folder))}{lookup.said}"
    return TemplateBenchmark(
        Files(paths), keys, image, template, media, pairs, issame, names, points, quality, description, search
    )


def _pairs(listed: Path, names: np.ndarray, faces: str) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of templates, int64 [P, 2] in 0..T-1, and whether each is genuine, bool [P]; both kinds exist."""
    table = _integers(listed, 3, "`template template 1|0`")
    if not np.isin(table[:, 2], (0, 1)).all():
        row = int(np.argmin(np.isin(table[:, 2], (0, 1))))
        raise InputError(f"{shown(str(listed))}: pair {row + 1} has the label {table[row, 2]}; expected 1 or 0")
    pairs = np.minimum(np.searchsorted(names, table[:, :2]), len(names) - 1)
    unknown = table[:, :2][names[pairs] != table[:, :2]]
    if unknown.size:
        raise InputError(f"{shown(str(listed))}: template {unknown[0]} has no face in {faces}")
    issame = table[:, 2].astype(bool)
    if issame.all() or not issame.any():
        raise InputError(
            f"{shown(str(listed))}: all {len(issame)} pairs are of one kind; expected genuine and impostor pairs"
        )
    return pairs, issame


def _only(folder: Path, ending: str) -> Path:
    found = sorted(path for path in folder.glob(f"*{ending}") if not path.name.startswith("."))
    if len(found) != 1:
        problem = f"{len(found)} files are named *{ending}" if found else f"no file is named *{ending}"
        raise InputError(f"{shown(str(folder))}: {problem}; expected exactly one")
    return found[0]


def _faces(file: Path) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Names of the distinct images, and the rows: image, template and media, int64 [R] each."""
    places: dict[str, int] = {}
    rows = []
    for line in lines(file, "lines `image template media`"):
        words = line.text.split()
        if len(words) != 3 or not all(_is_integer(word) for word in words[1:]):
            line.refuse("is not a face", "`image template media`, e.g. `1.jpg 1 69544`")
        rows.append((places.setdefault(words[0], len(places)), int(words[1]), int(words[2])))
    if not rows:
        raise InputError(f"{shown(str(file))}: lists no face")
    image, template, media = np.array(rows, np.int64).T
    return list(places), image, template, media


def _points(folder: Path, keys: list[str]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Landmarks and detector scores of the images, if their list exists."""
    if not any(folder.glob(f"*{POINTS}")):
        return None, None
    file, place = _only(folder, POINTS), {key: number for number, key in enumerate(keys)}
    found = np.full((len(keys), 11), np.nan, np.float32)
    for line in lines(file, "lines `image x1 y1 .. x5 y5 score`"):
        name, *words = line.text.split()
        try:
            values = [float(word) for word in words]
        except ValueError:
            values = []
        if len(values) != 11 or not np.isfinite(values).all():
            line.refuse("is not a list of landmarks", "`image x1 y1 .. x5 y5 score`")
        if name in place:
            found[place[name]] = values
    if np.isnan(found).any():
        row = int(np.argmax(np.isnan(found[:, 0])))
        raise InputError(f"{shown(str(file))}: {shown(keys[row])} has no landmarks; expected one line per image")
    return found[:, :10].reshape(-1, 5, 2), found[:, 10]


def _integers(file: Path, columns: int, expected: str) -> np.ndarray:
    """A table of integers, int64 [N, columns]; IJB-C's has 15 million rows, so NumPy reads it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a file without rows
            table = np.loadtxt(file, np.int64, comments=None, ndmin=2, encoding="ascii")
        if table.size and table.shape[1] == columns:
            return table
    except OSError as error:
        raise InputError(f"{shown(str(file))}: cannot be read ({error.strerror}); expected lines {expected}") from None
    except ValueError:  # a non-number, or a line of another length: reported below
        pass
    for line in lines(file, f"lines {expected}"):
        words = line.text.split()
        if len(words) != columns or not all(_is_integer(word) for word in words):
            line.refuse("is not a pair of templates", expected)
    raise InputError(f"{shown(str(file))}: lists no pair; expected lines {expected}")


def _is_integer(word: str) -> bool:
    return word.isascii() and word.removeprefix("-").isdigit() and len(word) < 19
