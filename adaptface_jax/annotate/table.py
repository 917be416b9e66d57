"""The table of a dataset: the measurements and the conditions derived from them, one row per image."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adaptface_jax.annotate.conditions import WORDS, Thresholds, conditions
from adaptface_jax.annotate.measure import Measures
from adaptface_jax.annotate.workers import measured
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import write_bytes
from adaptface_jax.core.journal import Journal
from adaptface_jax.core.text import shown
from adaptface_jax.data.labels import UNKNOWN, Column, LabelTable, encode_labels
from adaptface_jax.data.record import Keys, Source

# Decimals: more would be noise, and give a column as many distinct values as it has rows.
DIGITS = {
    "yaw": 1, "pitch": 1, "roll": 1, "brightness": 1, "contrast": 1, "side": 3, "detail": 4, "face_size": 1, "faces": 0,
}  # fmt: skip

# The journal's line about itself, and the format version of its other lines: a journal of another one is not resumed.
_ABOUT, _FORM = "", 1


@dataclasses.dataclass
class Annotated:
    """measures: by key, of the images that could be read. unreadable: by key, why the others could not. kept: how many
    of both were known from before."""

    measures: dict[str, Measures] = dataclasses.field(default_factory=dict)
    unreadable: dict[str, str] = dataclasses.field(default_factory=dict)
    kept: int = 0


@dataclasses.dataclass(frozen=True)
class _About:
    source: str
    form: int
    written: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class _Unreadable:
    error: str


def _kind_of(key: str, line: dict[str, Any]) -> type:
    if key == _ABOUT:
        return _About
    return _Unreadable if "error" in line else Measures


def journal_of(out: Path) -> Path:
    """Where the measurements are kept, next to the table."""
    return out.with_name(f"{out.stem}.annotate.jsonl")


def open_journal(out: Path, path: str) -> Journal:
    """The journal of a table of the dataset at `path`.

    Raises InputError if it belongs to another dataset, or if the table exists and was not written from this journal.
    """
    place = journal_of(out)
    journal = Journal(place, _kind_of)
    # Relative, so that a dataset moved together with its table is still recognized.
    about = {"source": os.path.relpath(path, out.parent) if os.path.isdir(path) else path, "form": _FORM}
    known = journal.lines.get(_ABOUT, about)
    if any(known.get(name) != value for name, value in about.items()):
        raise InputError(
            f"{shown(str(place))}: holds measurements of {shown(str(known.get('source')))}, or of another version; "
            "choose another --out, or delete it"
        )
    if out.exists() and _sha256(out.read_bytes()) not in known.get("written", ()):
        raise InputError(
            f"{shown(str(out))}: was not written by this command, or changed since; move it, or choose another --out"
        )
    if _ABOUT not in journal.lines:
        place.parent.mkdir(parents=True, exist_ok=True)
        journal.add(_ABOUT, about)
    return journal


def annotate(
    path: str, source: Source, journal: Journal, processes: int, show: Callable[[int, Annotated], None]
) -> Annotated:
    """Measure what the journal does not hold yet; `show` is called with how many are done and the outcome so far."""
    found = Annotated()
    missing = []
    for index, key in enumerate(Keys(source)):
        line = journal.lines.get(key)
        if line is None:
            missing.append(index)
        else:
            _note(found, key, line)
    found.kept = len(source) - len(missing)
    for done, (key, line) in enumerate(measured(path, source, missing, processes), start=found.kept + 1):
        journal.add(key, line)
        _note(found, key, line)
        show(done, found)
    return found


def _note(found: Annotated, key: str, line: dict[str, Any]) -> None:
    if "error" in line:
        found.unreadable[key] = line["error"]
    else:
        found.measures[key] = Measures(**line)


def label_table(source: Source, found: Annotated, limits: Thresholds, place: str) -> LabelTable:
    """One row per record in the source's order; empty cells for one that cannot be read."""
    cells: dict[str, list[str]] = {name: [] for name in (*DIGITS, *WORDS)}
    for key in Keys(source):
        measures = found.measures.get(key)
        row = {} if measures is None else _numbers(measures) | conditions(measures, limits)
        for name, column in cells.items():
            column.append(row.get(name, UNKNOWN))
    columns = {name: _column(texts) for name, texts in cells.items()}
    return LabelTable(columns, np.ones(len(source), bool), place)


def write_table(out: Path, source: Source, table: LabelTable, journal: Journal) -> None:
    """Writes the table at `out` atomically, after noting in the journal that it belongs to it."""
    content = encode_labels(table, Keys(source))
    about = journal.lines[_ABOUT]
    written = [*about.get("written", ()), _sha256(content)]
    # The journal first: if killed in between, the table is still the previous one and may be overwritten.
    journal.add(_ABOUT, about | {"written": list(dict.fromkeys(written))})
    write_bytes(out, content)


def _numbers(measures: Measures) -> dict[str, str]:
    values = dataclasses.asdict(measures)
    return {name: UNKNOWN if values[name] is None else f"{values[name]:.{digits}f}" for name, digits in DIGITS.items()}


def _column(texts: Sequence[str]) -> Column:
    codes: dict[str, int] = {UNKNOWN: 0}
    found = np.array([codes.setdefault(text, len(codes)) for text in texts])
    return Column(found.astype(np.min_scalar_type(len(codes) - 1)), tuple(codes))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
