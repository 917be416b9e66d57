"""The table of a set: what was measured, and the conditions made of it, a row an image."""

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

# Digits after the point: more would be noise, and make a column's values as many as its rows.
DIGITS = {
    "yaw": 1, "pitch": 1, "roll": 1, "brightness": 1, "contrast": 1, "side": 3, "detail": 4, "face_size": 1, "faces": 0,
}  # fmt: skip

# The journal's line about itself, and the form of its other lines: another one is not gone on with.
_ABOUT, _FORM = "", 1


@dataclasses.dataclass
class Annotated:
    """measures: of each key, those that could be read. unreadable: of each other key, why. kept: how many of both were
    known from before."""

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
    """Where what was measured stands, beside the table."""
    return out.with_name(f"{out.stem}.annotate.jsonl")


def open_journal(out: Path, path: str) -> Journal:
    """The journal of a table of the set at `path`.

    Raises InputError where it is of another set, or where the table is there and its content is not this journal's.
    """
    place = journal_of(out)
    journal = Journal(place, _kind_of)
    # Relative, so that a set that is moved with its table stays known.
    about = {"source": os.path.relpath(path, out.parent) if os.path.isdir(path) else path, "form": _FORM}
    known = journal.lines.get(_ABOUT, about)
    if any(known.get(name) != value for name, value in about.items()):
        raise InputError(
            f"{shown(str(place))}: holds the measures of {shown(str(known.get('source')))}, or of another version; "
            "choose another --out, or delete it"
        )
    if out.exists() and _sha256(out.read_bytes()) not in known.get("written", ()):
        raise InputError(
            f"{shown(str(out))}: was not written by this command, or changed since; move it away, or choose another"
        )
    if _ABOUT not in journal.lines:
        place.parent.mkdir(parents=True, exist_ok=True)
        journal.add(_ABOUT, about)
    return journal


def annotate(
    path: str, source: Source, journal: Journal, processes: int, show: Callable[[int, Annotated], None]
) -> Annotated:
    """Measure what the journal does not know yet; `show` is called with how many are done and what came out so far."""
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
    """A row for every record in the source's order; empty cells for one that cannot be read."""
    cells: dict[str, list[str]] = {name: [] for name in (*DIGITS, *WORDS)}
    for key in Keys(source):
        measures = found.measures.get(key)
        row = {} if measures is None else _numbers(measures) | conditions(measures, limits)
        for name, column in cells.items():
            column.append(row.get(name, UNKNOWN))
    columns = {name: _column(texts) for name, texts in cells.items()}
    return LabelTable(columns, np.ones(len(source), bool), place)


def write_table(out: Path, source: Source, table: LabelTable, journal: Journal) -> None:
    """The table at `out`, whole, and that it is this journal's."""
    content = encode_labels(table, Keys(source))
    about = journal.lines[_ABOUT]
    written = [*about.get("written", ()), _sha256(content)]
    # First the journal: killed in between, the table is still the one before and may be written over.
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
