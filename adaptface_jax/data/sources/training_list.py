"""Training lists: a text file with a line for each image, its path and its label.

images/00000000.jpg<TAB>0           label.txt of InsightFace's Paddle code; also spaces, commas, semicolons, label first
0<TAB>3.000000<TAB>anna/1.jpg       train.lst of MXNet's im2rec: index, label, path
path,label                          a CSV, with a header of any known names and any other columns, or without
"""

from __future__ import annotations

import csv
import dataclasses
import os
import posixpath
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural, shown
from adaptface_jax.data.image_files import images_below
from adaptface_jax.data.passed_over import PassedOver
from adaptface_jax.data.sources.listed_files import ListedFiles
from adaptface_jax.data.text_array import TextArray
from adaptface_jax.data.text_lines import Line, lines

ENDINGS = (".txt", ".lst", ".csv", ".tsv", ".list")
PATHS = ("path", "file", "filename", "file_name", "image", "image_path", "img", "img_path", "filepath", "image_id")
LABELS = (
    "label",
    "identity",
    "id",
    "class",
    "person",
    "subject",
    "target",
    "person_id",
    "class_id",
    "name",
    "class_name",
)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]{1,2})?", re.IGNORECASE)
_INNER = ("images", "img_align_celeba", "Img/img_align_celeba")
_FORM = "lines `path label`, `index label path` as im2rec writes them, or a CSV with columns path and label"


@dataclasses.dataclass(frozen=True)
class Columns:
    """Which cells of a line are the path and the label. count: of cells in every line. between: what parts them."""

    path: int
    label: int
    count: int
    between: str


def open_training_list(file: Path) -> ListedFiles:
    """The images of a list in its order, their classes by ascending label (numbers as such, else as text).

    Paths are relative to the folder of the list, to the one above it, or to the folder of the images in either, as
    datasets call it; back slashes and either Unicode form are understood. A row that repeats an image with its label
    is passed over, as are the images that no row names.
    Raises InputError for a line of another form, an image with two labels, and images that are missing.
    """
    rows, repeated = _rows(file)
    root = _root(file, next(iter(rows)))
    there = _there(root, rows)
    missing = [path for path in rows if path not in there]
    if missing:
        raise InputError(
            f"{shown(str(file))}: {len(missing):,} of {len(rows):,} images are missing, e.g. "
            f"{shown(os.path.join(root, missing[0]))}; expected paths relative to the folder of the list"
        )
    keys = [there[path] for path in rows]
    numbers = all(label.isdecimal() for label in rows.values())
    names = sorted(set(rows.values()), key=(lambda label: (int(label), label)) if numbers else None)
    number = {name: place for place, name in enumerate(names)}
    source = ListedFiles(
        root,
        TextArray.of(keys),
        np.fromiter((number[label] for label in rows.values()), np.int32, len(rows)),
        TextArray.of(names),
        f"list {shown(str(file))}",
    )
    source.passed_over = _passed_over(root, set(keys), repeated)
    return source


def _rows(file: Path) -> tuple[dict[str, str], int]:
    """Path -> label, in order, and how many rows say again what one has said."""
    columns: Columns | None = None
    rows: dict[str, str] = {}
    repeated = 0
    for line in lines(file, _FORM):
        if "\0" in line.text:
            line.refuse("holds a NUL", "text")
        if columns is None:
            columns, header = _columns(line)
            if header:
                continue
        cells = _cells(line, columns.between)
        if len(cells) != columns.count:
            line.refuse(f"has {plural(len(cells), 'column')}, the lines before {columns.count}", _FORM)
        path, label = posixpath.normpath(cells[columns.path].replace("\\", "/")), _label(line, cells[columns.label])
        if not cells[columns.path]:
            line.refuse("names no image", _FORM)
        if rows.setdefault(path, label) != label:
            line.refuse(f"has the label {label}, and {rows[path]} on an earlier line", "one label for each image")
        repeated += 1
    if columns is None or not rows:
        raise InputError(f"{shown(str(file))}: lists no image; expected {_FORM}")
    return rows, repeated - len(rows)


def _label(line: Line, text: str) -> str:
    """A number without its zeros, `3.000000` as 3, or the text itself."""
    if not text:
        line.refuse("has no label", _FORM)
    if not _is_number(text):
        return text
    value = float(text)
    if not value.is_integer() or value < 0:
        line.refuse(f"has the label {shown(text)}", "a count from 0 on, or a name")
    return text if text.isdecimal() and str(int(text)) != text else str(int(value))


def _columns(line: Line) -> tuple[Columns, bool]:
    """The columns by the first line, and whether it is a header."""
    between = next((mark for mark in "\t;," if mark in line.text), " ")
    cells = _cells(line, between)
    names = [cell.lower() for cell in cells]
    path, label = (_place(names, known) for known in (PATHS, LABELS))
    if path is not None and label is None and len(cells) == 2:
        label = 1 - path
    if path is not None and label is not None:
        return Columns(path, label, len(cells), between), True
    if len(cells) == 2:
        reverse = _is_number(cells[0]) and not _is_number(cells[1])
        return Columns(int(reverse), int(not reverse), 2, between), False
    if len(cells) == 3 and cells[0].isdecimal() and _is_number(cells[1]):
        return Columns(2, 1, 3, between), False
    if len(cells) > 3 and all(_is_number(cell) for cell in cells[:-1]):
        line.refuse(f"has {len(cells) - 2} labels", "one label an image, its identity")
    return line.refuse("is no line of a training list", _FORM)


def _place(names: list[str], known: tuple[str, ...]) -> int | None:
    """The first of the known names that is there."""
    return next((names.index(name) for name in known if name in names), None)


def _cells(line: Line, between: str) -> list[str]:
    if between == " ":  # a path may hold spaces, a label none
        words = line.text.split()
        first, last = _is_number(words[0]), _is_number(words[-1])
        if len(words) == 3 and words[0].isdecimal() and _is_number(words[1]) and not last:
            return words
        return line.text.split(maxsplit=1) if first and not last else line.text.rsplit(maxsplit=1)
    try:
        return [cell.strip() for cell in next(csv.reader([line.text], delimiter=between, skipinitialspace=True))]
    except csv.Error as error:
        return line.refuse(str(error), _FORM)


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _root(file: Path, path: str) -> Path:
    """The folder that the paths are relative to: the first of some in which the first one is there."""
    above = (file.parent, file.parent.parent)
    places = [*above, *(place / inner for place in above for inner in _INNER)]
    return next((place for place in places if any(os.path.isfile(place / form) for form in _forms(path))), places[0])


def _there(root: Path, paths: dict[str, str]) -> dict[str, str]:
    """Each path that names a file -> what the file is called. Folders are listed once: asking for millions of files one
    by one takes long on a network drive."""
    names: dict[str, set[str]] = {}
    found = {}
    for path in paths:
        for form in _forms(path):
            folder, name = os.path.split(os.path.join(root, form))
            if folder not in names:
                names[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
            if name in names[folder]:
                found[path] = form
                break
    return found


def _forms(path: str) -> Iterator[str]:
    """A path as it is written, and as another system would write it."""
    yield path
    if not path.isascii():
        yield from (unicodedata.normalize(form, path) for form in ("NFC", "NFD"))


def _passed_over(root: Path, keys: set[str], repeated: int) -> PassedOver:
    passed = PassedOver()
    unlisted = sum(name.replace(os.sep, "/") not in keys for name in images_below(root, PassedOver()))
    passed.others.update({"that the list does not name": unlisted, "on a line that repeats another": repeated})
    return passed
