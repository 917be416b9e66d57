"""IJB-B and IJB-C 1:N by their published lists: the templates of two galleries, and mixed probes searched in each.

    FOLDER/meta/ijbc_1N_gallery_G1.csv     TEMPLATE_ID,SUBJECT_ID,..., one row per face; IJB-B: S1 and S2
    FOLDER/meta/ijbc_1N_gallery_G2.csv
    FOLDER/meta/ijbc_1N_probe_mixed.csv    the same

Every probe's person is in one of the two galleries, and not enrolled in the other. The faces of a template are in the
list of the 1:1 protocol (`ijb`); columns after the first two are not needed.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown
from adaptface_jax.data.text_lines import lines

GALLERY, PROBES = "_1N_gallery_", "_1N_probe_mixed.csv"


@dataclasses.dataclass(frozen=True)
class Listed:
    """template: int64 [N], the index of each template in 0..T-1. person: int64 [N], the published subject."""

    template: np.ndarray
    person: np.ndarray


@dataclasses.dataclass(frozen=True)
class TemplateSearch:
    """galleries: published name ("G1") -> its templates, possibly several per person. probes: searched in each."""

    galleries: dict[str, Listed]
    probes: Listed


def read_template_search(folder: Path, names: np.ndarray) -> TemplateSearch | None:
    """The 1:N lists in a folder; None if it holds none of them.

    names: int64 [T], ascending, the published numbers of the templates that have faces.
    Raises InputError if the lists are incomplete, malformed, or do not match the templates or each other.
    """
    files = sorted(path for path in folder.glob(f"*{GALLERY}*.csv") if not path.name.startswith("."))
    mixed = sorted(path for path in folder.glob(f"*{PROBES}") if not path.name.startswith("."))
    if not files and not mixed:
        return None
    if not files or len(mixed) != 1:
        raise InputError(
            f"{shown(str(folder))}: {len(files)} files are *{GALLERY}*.csv and {len(mixed)} are *{PROBES}; expected "
            "galleries and one list of probes, or neither"
        )
    probes = _read(mixed[0], names)
    galleries = {file.stem.rpartition(GALLERY)[2]: _read(file, names) for file in files}
    for file, gallery in zip(files, galleries.values(), strict=True):
        if (both := np.intersect1d(gallery.template, probes.template)).size:
            raise InputError(f"{shown(str(file))}: template {names[both[0]]} is also a probe, which would find itself")
    return TemplateSearch(galleries, probes)


def _read(file: Path, names: np.ndarray) -> Listed:
    expected = "`template,subject`, e.g. `12098,1004`"
    person_of: dict[int, int] = {}
    for line in lines(file, f"lines {expected}"):
        cells = [cell.strip() for cell in line.text.split(",", 2)[:2]]
        if line.number == 1 and not any(cell.isdecimal() for cell in cells):
            continue  # the header
        if len(cells) != 2 or not all(cell.isascii() and cell.isdecimal() and len(cell) < 19 for cell in cells):
            line.refuse("is not a template", expected)
        template, person = map(int, cells)
        if person_of.setdefault(template, person) != person:
            line.refuse(f"template {template} is of subject {person_of[template]} on an earlier line", expected)
    if not person_of:
        raise InputError(f"{shown(str(file))}: lists no template; expected lines {expected}")
    numbers = np.array(list(person_of), np.int64)
    place = np.minimum(np.searchsorted(names, numbers), len(names) - 1)
    if (unknown := numbers[names[place] != numbers]).size:
        raise InputError(f"{shown(str(file))}: template {unknown[0]} has no face in the list of faces")
    return Listed(place, np.array(list(person_of.values()), np.int64))
