# SPDX-License-Identifier: Apache-2.0
"""CelebA as published (Liu et al., "Deep Learning Face Attributes in the Wild", 2015).

    img_align_celeba/000001.jpg ...   or one folder deeper, as in one download
    list_attr_celeba.txt              the number of images; the attributes; lines of `000001.jpg -1  1 ...`
    list_eval_partition.txt           lines of `000001.jpg 0`: 0 train, 1 validation, 2 test; if missing, by the numbers

The lists may instead be .csv with a header `image_id,...`, and lie in Anno/ and Eval/, the images in Img/; a copy has 0
for -1, another the images as PNG in img_align_celeba_png/.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural, shown
from adaptface_jax.data.attributes import chosen_attributes
from adaptface_jax.data.image_files import skipped_beside
from adaptface_jax.data.lookup import Lookup
from adaptface_jax.data.name_table import NameTable, TableFile
from adaptface_jax.data.record import Source
from adaptface_jax.data.sources.listed_files import ListedFiles
from adaptface_jax.data.sources.selection import Selection
from adaptface_jax.data.text_array import TextArray

ATTRIBUTES, PARTITION, IMAGES = "list_attr_celeba", "list_eval_partition", "img_align_celeba"
PARTS = ("train", "validation", "test")
# The last published number of each part but the last, and of all.
_LAST = (162_770, 182_637, 202_599)
_NUMBERED = re.compile(r"[0-9]{6}\.(jpg|png)")

_ATTRIBUTE_FORM = "the number of images, the attributes' names and lines of `000001.jpg 1 -1 ...`"
_ATTRIBUTE_CSV = "a header `image_id,...` and lines of `000001.jpg,1,-1,...`"
_PARTITION_FORM = "lines of `000001.jpg 0`: 0 train, 1 validation, 2 test"
_PARTITION_CSV = "a header `image_id,partition` and lines of `000001.jpg,0`: 0 train, 1 validation, 2 test"


def is_celeba(folder: Path) -> bool:
    """Whether the list of attributes exists."""
    return _list(folder, ATTRIBUTES) is not None


def open_celeba(folder: Path, attributes: Sequence[str] = ()) -> dict[str, Source]:
    """The images of each of PARTS in the order of the list of attributes, multi-label.

    attributes: those to learn, in their order; empty for all. Images that no list names are skipped and counted.
    Raises InputError for an attribute that the dataset lacks, for a list that is missing or malformed, for lists that
    name different images, for images that are missing, and for a part without any.
    """
    lists = [_existing(folder, ATTRIBUTES)]
    table, known = _attributes(lists[0])
    published = None if _list(folder, PARTITION) else _published_partition(table.names)
    lists += [] if published is not None else [_existing(folder, PARTITION)]
    columns = chosen_attributes(attributes, known, shown(str(folder)))
    parts = _partition(lists[1], table.names) if published is None else published
    images = _image_folder(folder)
    names, said = _files(images, table.names)
    said += f", no {PARTITION}: the published partition by number" if published is not None else ""
    count = f"{len(columns)} of {len(known)}" if len(columns) < len(known) else f"{len(known)}"
    source = ListedFiles(
        images,
        names,
        (table.values[:, columns] == 1).astype(np.int32),
        [known[column] for column in columns],
        f"CelebA in {shown(str(folder))}, {count} attributes{said}",
    )
    place = images.relative_to(folder)
    own = {os.path.join(place, name) for name in names} | {str(path.relative_to(folder)) for path in lists}
    source.skipped_files = skipped_beside(folder, own, "that no list names")
    return {
        part: Selection(source, np.flatnonzero(parts == number), f"partition {number}, {part}")
        for number, part in enumerate(PARTS)
    }


def _list(folder: Path, name: str) -> Path | None:
    places = [folder / place / f"{name}{ending}" for ending in (".txt", ".csv") for place in ("", "Anno", "Eval")]
    return next((path for path in places if path.is_file()), None)


def _existing(folder: Path, name: str) -> Path:
    path = _list(folder, name)
    if path is None:
        raise InputError(f"{shown(str(folder))}: holds no {name}.txt or .csv; expected CelebA's lists and {IMAGES}/")
    return path


def _attributes(path: Path) -> tuple[NameTable, list[str]]:
    """The table of 1 and either -1 or 0, and the attributes' names."""
    csv = path.suffix == ".csv"
    file = TableFile.read(path, _ATTRIBUTE_CSV if csv else _ATTRIBUTE_FORM)
    head = file.head(1 if csv else 2)
    count: int | None = None
    if csv:
        if head[0][:1] != ["image_id"]:
            file.refuse("no header", 1)
        names = head[0][1:]
    else:
        if len(head[0]) != 1 or not (head[0][0].isascii() and head[0][0].isdigit()):
            file.refuse("is not a number of images", 1)
        count = int(head[0][0])
        names = head[1] if len(head) == 2 else []
    if not names or len(set(names)) < len(names):
        file.refuse("names an attribute twice" if names else "names no attribute", len(head))
    table = file.rows(len(head), len(names), (1, -1, 0))
    others = table.values[table.values != 1]
    if others.size and (others != others[0]).any():
        file.rows(len(head), len(names), (1, int(others[0])))  # names the first other value
    if count is not None and count != len(table.names):
        file.refuse(f"announces {plural(count, 'image')} and lists {len(table.names):,}", 1)
    return table, names


def _partition(path: Path, names: TextArray) -> np.ndarray:
    """int8 [N], the part of each named image."""
    csv = path.suffix == ".csv"
    file = TableFile.read(path, _PARTITION_CSV if csv else _PARTITION_FORM)
    table = file.rows(1 if csv else 0, 1, (0, 1, 2))
    place = {name: row for row, name in enumerate(table.names)}
    rows = [place.pop(name, -1) for name in names]
    alone = [names[number] for number, row in enumerate(rows) if row < 0]
    for found, problem in (
        (alone, f"lacks {plural(len(alone), 'image')} listed with attributes"),
        (list(place), f"names {plural(len(place), 'image')} without attributes"),
    ):
        if found:
            file.refuse(f"{problem}, the first: {shown(found[0])}")
    parts = table.values[rows, 0]
    for number, part in enumerate(PARTS):
        if not (parts == number).any():
            file.refuse(f"no image is in partition {number}, {part}")
    return parts


def _published_partition(names: TextArray) -> np.ndarray | None:
    """int8 [N], the part of each image by its published number; None if a name has none, or a part is empty."""
    if not all(_NUMBERED.fullmatch(name) for name in names):
        return None
    parts = np.searchsorted(_LAST, np.fromiter((int(name[:6]) for name in names), np.int64, len(names)))
    return parts.astype(np.int8) if set(parts.tolist()) == {0, 1, 2} else None


def _image_folder(folder: Path) -> Path:
    for place in (outer / name for name in (IMAGES, f"{IMAGES}_png") for outer in (folder, folder / "Img")):
        if place.is_dir():
            return place / place.name if (place / place.name).is_dir() else place
    archive = next((path for path in (folder, folder / "Img") if (path / f"{IMAGES}.zip").is_file()), None)
    advice = f"unpack {shown(str(archive / IMAGES))}.zip there" if archive else "expected CelebA's aligned images there"
    raise InputError(f"{shown(str(folder))}: holds no {IMAGES}/; {advice}")


def _files(folder: Path, names: TextArray) -> tuple[TextArray, str]:
    """The files of the images, and what to say of them; raises InputError if some are missing.

    The folder is listed once: checking 200,000 files one by one is slow on a network drive.
    """
    try:
        there = set(os.listdir(folder))
    except OSError as error:
        raise InputError(
            f"{shown(str(folder))}: cannot be listed ({error.strerror}); expected CelebA's images"
        ) from None
    if all(name in there for name in names):
        return names, ""
    lookup = Lookup(folder)
    found = {name: lookup.find(name) for name in names}
    missing = [name for name, file in found.items() if file is None]
    if missing:
        raise InputError(
            f"{shown(str(folder))}: lacks {plural(len(missing), 'image')} of the {len(names):,} that the lists name, "
            f"the first: {shown(missing[0])}; unpack {IMAGES}.zip again"
        )
    return TextArray.of(file for file in found.values() if file), lookup.said
