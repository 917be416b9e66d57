# SPDX-License-Identifier: Apache-2.0
"""Training lists: a text file with one line per image, its path and its label.

images/00000000.jpg<TAB>0           label.txt of InsightFace's Paddle code; also spaces, commas, semicolons, label first
0<TAB>3.000000<TAB>anna/1.jpg       train.lst of MXNet's im2rec: index, label, path
1<TAB>anna/1.jpg<TAB>3              train.lst of InsightFace: aligned or not, path, label (box, landmarks)
path,label                          a CSV, with a header of any known names and any other columns, or without one
"""

from __future__ import annotations

import csv
import dataclasses
import os
import posixpath
import re
from pathlib import Path

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural, shortened, shown
from adaptface_jax.data.image_files import skipped_beside
from adaptface_jax.data.labels import LABELS
from adaptface_jax.data.lookup import Lookup
from adaptface_jax.data.sources.listed_files import ListedFiles
from adaptface_jax.data.text_array import TextArray
from adaptface_jax.data.text_lines import Line, lines

ENDINGS = (".txt", ".lst", ".csv", ".tsv", ".list")
# Names of the columns, in lowercase and without separators.
_PATH_NAMES = (
    "path file filename image imagepath imagename img imgpath imgname imgfile imagefile filepath imageid photo picture"
).split()
_LABEL_NAMES = (
    "label identity identityid id class person subject target personid subjectid classid labelid name classname "
    "identityname personname subjectname classlabel pid"
).split()
_INDEX = ("", "unnamed0")  # the row numbers that pandas writes as a first column
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]{1,2})?", re.IGNORECASE)
_INNER = ("images", "img_align_celeba", "Img/img_align_celeba")
_FORM = (
    "lines `path label`, `index label path` as im2rec writes them, `index path label`, or a CSV with columns path and "
    "label"
)


@dataclasses.dataclass(frozen=True)
class Columns:
    """Which cells of a line are the path and the label. count: cells per line. between: the separator. unread: the
    names of the other columns. instead: whether the label is a column `id`, which may number the rows, and another
    column may be the label."""

    path: int
    label: int
    count: int
    between: str
    unread: tuple[str, ...] = ()
    instead: bool = False


def open_training_list(file: Path) -> ListedFiles:
    """The images in a list, in its order, with classes by ascending label (numerically, or else as text).

    Paths are relative to the folder of the list, to its parent, or to an image folder in either with one of the usual
    names; backslashes and either Unicode form are understood. A row that repeats an image with its label counts once;
    images that no row names are skipped.
    Raises InputError for a malformed line, an image with two labels, and images that are missing.
    """
    rows, lines_there, unread = _rows(file)
    lookup = _lookup(file, list(rows))
    images, root = _images(file, lookup, rows), lookup.folder
    labels = set(images.values())
    numbers = all(label.isdecimal() for label in labels)
    names = sorted(labels, key=(lambda label: (int(label), label)) if numbers else None)
    number = {name: place for place, name in enumerate(names)}
    repeated = lines_there - len(images)
    said = lookup.said + (f", {plural(repeated, 'line')} repeated" if repeated else "")
    if unread:
        said += f", without its {'columns' if len(unread) > 1 else 'column'} {shown(shortened(', '.join(unread), 80))}"
    source = ListedFiles(
        root,
        TextArray.of(images),
        np.fromiter((number[label] for label in images.values()), np.int32, len(images)),
        TextArray.of(names),
        f"list {shown(str(file))}{said}",
    )
    own = {*images, *(os.path.relpath(path, root) for path in (file, file.with_name(LABELS)))}
    source.skipped_files = skipped_beside(root, own, "that the list does not name")
    return source


def _images(file: Path, lookup: Lookup, rows: dict[str, str]) -> dict[str, str]:
    """The file of each path -> its label; raises InputError for a missing file, and for one with two labels."""
    found, missing = dict[str, str](), []
    for path, label in rows.items():
        key = lookup.find(path)
        if key is None:
            missing.append(path)
        elif found.setdefault(key, label) != label:
            raise InputError(
                f"{shown(str(file))}: {shown(path)} has the labels {shown(found[key])} and {shown(label)}, in two "
                "spellings; expected one label per image"
            )
    if missing:
        first = shortened(shown(os.path.join(lookup.folder, missing[0])), 200)
        raise InputError(
            f"{shown(str(file))}: {len(missing):,} of {len(rows):,} images are missing, e.g. {first}; expected paths "
            "relative to the folder of the list"
        )
    return found


def _rows(file: Path, numbered: bool = False) -> tuple[dict[str, str], int, tuple[str, ...]]:
    """Path -> label, in order, how many lines list them, and the columns that are not read.

    numbered: a column `id` numbers the rows.
    """
    columns: Columns | None = None
    rows: dict[str, str] = {}
    count = 0
    for line in lines(file, _FORM):
        if columns is None:
            columns, header = _columns(line, numbered)
            if header:
                continue
        cells = _cells(line, columns.between)
        if len(cells) != columns.count:
            line.refuse(f"has {plural(len(cells), 'column')}, the lines before it have {columns.count}", _FORM)
        path, label = posixpath.normpath(cells[columns.path].replace("\\", "/")), _label(line, cells[columns.label])
        if not cells[columns.path]:
            line.refuse("names no image", _FORM)
        if rows.setdefault(path, label) != label:
            line.refuse(f"has the label {label}, and {rows[path]} on an earlier line", "one label per image")
        count += 1
    if columns is None or not rows:
        raise InputError(f"{shown(str(file))}: lists no image; expected {_FORM}")
    if columns.instead and len(set(rows.values())) == len(rows) > 1:
        return _rows(file, numbered=True)
    return rows, count, columns.unread


def _label(line: Line, text: str) -> str:
    """A number without trailing zeros, `3.000000` as 3, or the text itself."""
    if not text:
        line.refuse("has no label", _FORM)
    if not _is_number(text):
        return text
    value = float(text)
    if not value.is_integer() or value < 0:
        line.refuse(f"has the label {shown(text)}", "a non-negative integer, or a name")
    return text if text.isdecimal() and str(int(text)) != text else str(int(value))


def _columns(line: Line, numbered: bool) -> tuple[Columns, bool]:
    """The columns, from the first line, and whether it is a header. numbered: as in `_rows`."""
    between = next((mark for mark in "\t;," if mark in line.text), " ")
    cells = _cells(line, between)
    names = [re.sub("[^a-z0-9]", "", cell.lower()) for cell in cells]
    others = [name for name in _LABEL_NAMES if name != "id"]
    path, label = (_place(names, known) for known in (_PATH_NAMES, others if numbered else _LABEL_NAMES))
    if path is not None and label is None and len(cells) == 2:
        label = 1 - path
    if path is not None and label is not None:
        unread = tuple(
            cell for place, cell in enumerate(cells) if place not in (path, label) and names[place] not in _INDEX
        )
        instead = names[label] == "id" and _place(names, others) is not None
        return Columns(path, label, len(cells), between, unread, instead), True
    if len(cells) == 2:
        reverse = _is_number(cells[0]) and not _is_number(cells[1])
        return Columns(int(reverse), int(not reverse), 2, between), False
    if len(cells) == 3 and cells[0].isdecimal() and _is_number(cells[1]):
        return Columns(2, 1, 3, between), False
    if len(cells) > 2 and cells[0].isdecimal() and not _is_number(cells[1]) and all(map(_is_number, cells[2:])):
        return Columns(1, 2, len(cells), between), False
    if len(cells) > 3 and all(_is_number(cell) for cell in cells[:-1]):
        line.refuse(f"has {len(cells) - 2} labels", "one label per image, its identity")
    return line.refuse("is not a line of a training list", _FORM)


def _place(names: list[str], known: list[str]) -> int | None:
    """The index of the first known name that occurs."""
    return next((names.index(name) for name in known if name in names), None)


def _cells(line: Line, between: str) -> list[str]:
    if between == " ":  # a path may contain spaces, a label may not
        words = line.text.split()
        first, last = _is_number(words[0]), _is_number(words[-1])
        if len(words) == 3 and words[0].isdecimal() and _is_number(words[1]) and not last:
            return words
        cells = line.text.split(maxsplit=1) if first and not last else line.text.rsplit(maxsplit=1)
        return [cell[1:-1] if cell[0] == cell[-1] == '"' and len(cell) > 1 else cell for cell in cells]
    try:  # pandas writes a nameless index column: with tabs, such a header begins with one
        return [cell.strip() for cell in next(csv.reader([line.indented], delimiter=between, skipinitialspace=True))]
    except csv.Error as error:
        return line.refuse(str(error), _FORM)


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _lookup(file: Path, paths: list[str]) -> Lookup:
    """The folder to which the paths are relative: the first candidate that contains the first path."""
    above = (file.parent, file.parent.parent)
    places = [Lookup(place) for place in (*above, *(place / inner for place in above for inner in _INNER))]
    found = next((place for place in places if place.find(paths[0])), None)
    return found or next((place for place in places[:2] if place.settle(paths)), places[0])
