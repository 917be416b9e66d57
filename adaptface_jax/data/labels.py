# SPDX-License-Identifier: Apache-2.0
"""Labels of images in a table: what is known about each besides its identity.

path,pose,light            the first column is the record's key, whatever its name; any further columns
anna/1.jpg,left,bad
anna/2.jpg,frontal,        an empty cell is unknown, and so is an image without a row
"""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import posixpath
import re
import unicodedata
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import one_line, plural, shortened, shown
from adaptface_jax.data.text_lines import encoding_of

LABELS = "labels.csv"
UNKNOWN = ""

_FORM = "a table with a header: path, then one column per kind of label"
_RECORD = re.compile(r"record (\d+)")


@dataclasses.dataclass(frozen=True, eq=False)
class Column:
    """codes: small unsigned integers [N]; 0 is unknown. values: the text of each code, values[0] empty."""

    codes: np.ndarray
    values: tuple[str, ...]

    @property
    def known(self) -> np.ndarray:
        """bool [N]."""
        return self.codes != 0

    def holds(self, value: str) -> np.ndarray:
        """bool [N], which records have this value; none if the column lacks it."""
        if value == UNKNOWN or value not in self.values:
            return np.zeros(len(self.codes), bool)
        return self.codes == self.values.index(value)


@dataclasses.dataclass(frozen=True, eq=False)
class LabelTable:
    """The labels of N records, in their order.

    columns: by name, in the file's order. listed: bool [N], which records have a row.
    place: the file, for messages. key_name: the name of its first column.
    """

    columns: dict[str, Column]
    listed: np.ndarray
    place: str
    key_name: str = "path"

    def __len__(self) -> int:
        return len(self.listed)

    def take(self, indices: np.ndarray | slice) -> LabelTable:
        """The labels of the records at `indices` (int [M]), in that order."""
        columns = {
            name: dataclasses.replace(column, codes=column.codes[indices]) for name, column in self.columns.items()
        }
        return dataclasses.replace(self, columns=columns, listed=self.listed[indices])


def label_columns(file: Path) -> tuple[str, ...]:
    """The columns in the header of a table, without the key. Raises InputError if there is no header."""
    return tuple(_header(file)[1][1:])


def read_labels(file: Path, keys: Sequence[str], whole_set: bool = True) -> LabelTable:
    """The labels of the records with these `keys`, in their order.

    Quotes, a byte order mark, either line ending, spaces around cells, `;` or tabs between them, `./` before a path,
    backslashes and either Unicode form are understood, and so is `17` for `record 17`.
    whole_set: `keys` are all that the file may name; otherwise its rows for other images are skipped.
    Raises InputError, with the line, for a ragged row, a column without a name or named twice, a record with two rows,
    and a path that is not among the keys; and if the file has no header or no row for any of the keys.
    """
    number, header = _header(file)
    places = _Places(keys)
    _check_header(file, number, header, places)
    names = header[1:]
    codes = [array("I") for _ in names]
    values: list[dict[str, int]] = [{UNKNOWN: 0} for _ in names]
    hashes, line_numbers = array("q"), array("q")
    for number, words in itertools.islice(_rows(file), 1, None):
        if len(words) != len(header):
            _refuse(file, f"line {number} has {plural(len(words), 'cell')}", f"{len(header)}, as in the header")
        if not words[0]:
            _refuse(file, f"line {number} names no record", f"a {header[0]} in the first cell")
        hashes.append(_hash(words[0]))
        line_numbers.append(number)
        for column, known, word in zip(codes, values, words[1:], strict=True):
            column.append(known.setdefault(word, len(known)))
    indices = _matched(file, places.find(np.array(hashes, np.int64)), np.array(line_numbers, np.int64), keys, whole_set)
    there = indices >= 0
    listed = np.zeros(len(keys), bool)
    listed[indices[there]] = True
    columns = {}
    for name, column, known in zip(names, codes, values, strict=True):
        placed = np.zeros(len(keys), np.min_scalar_type(len(known) - 1))
        placed[indices[there]] = np.array(column, np.uint32)[there]
        columns[name] = Column(placed, tuple(known))
    return LabelTable(columns, listed, shown(str(file)), header[0])


def encode_labels(table: LabelTable, keys: Sequence[str]) -> bytes:
    """The bytes of a file that `read_labels` reads as the same table; one row per listed record, in order."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([table.key_name, *table.columns])
    for index in np.flatnonzero(table.listed).tolist():
        writer.writerow([keys[index], *(column.values[column.codes[index]] for column in table.columns.values())])
    return text.getvalue().encode("utf-8", "surrogateescape")


class _Places:
    """Which of the keys a text names. The keys are stored as 64-bit hashes: millions of them cost 16 bytes each."""

    def __init__(self, keys: Sequence[str]) -> None:
        hashes = np.fromiter((_hash(key) for key in keys), np.int64, len(keys))
        self._order = np.argsort(hashes, kind="stable")
        self._sorted = hashes[self._order]

    def find(self, hashes: np.ndarray) -> np.ndarray:
        """int64 [R]: the index of each, -1 if it is not among the keys, -2 if it matches several."""
        first = np.searchsorted(self._sorted, hashes)
        number = np.searchsorted(self._sorted, hashes, side="right") - first
        return np.select([number == 1, number > 1], [self._order.take(first, mode="clip"), -2], -1)


def _hash(key: str) -> int:
    """A hash that is equal for all spellings of one key."""
    key = posixpath.normpath(key.strip().replace("\\", "/"))
    if not key.isascii():
        key = unicodedata.normalize("NFC", key)
    record = _RECORD.fullmatch(key)
    return hash(record[1] if record else key)


def _rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The number of the line that ends each row, and its cells; blank rows are skipped."""
    number = 0
    try:
        # File names may not be UTF-8; a table in another encoding is caught by names that are not in the dataset.
        with file.open(encoding=encoding_of(file), errors="surrogateescape", newline="") as opened:
            start = opened.readline()
            if "\0" in start:
                _refuse(file, "is not UTF-8 text", _FORM)
            opened.seek(0)
            delimiter = max(",;\t", key=start.count)
            reader = csv.reader(opened, delimiter=delimiter, skipinitialspace=True, strict=True)
            for words in reader:
                number = reader.line_num
                cells = [word.strip() for word in words]
                if any(cells):
                    yield number, cells
    except OSError as error:
        _refuse(file, f"cannot be read ({error.strerror})", _FORM)
    except csv.Error as error:
        _refuse(file, f"line {number + 1} is malformed ({one_line(error)})", _FORM)


def _header(file: Path) -> tuple[int, list[str]]:
    """The header's line number and cells."""
    found = next(_rows(file), None)
    if found is None:
        _refuse(file, "is empty", _FORM)
    return found


def _check_header(file: Path, number: int, header: list[str], places: _Places) -> None:
    if places.find(np.array([_hash(header[0])]))[0] != -1:
        _refuse(file, f"line {number} is a row, {shown(header[0])!r}", _FORM)
    if len(header) < 2:
        _refuse(file, f"line {number} names only one column, {_short(header[0])!r}", _FORM)
    if not all(header):
        _refuse(file, f"line {number}: column {header.index('') + 1} has no name", "a name for each column")
    twice = [name for place, name in enumerate(header) if name in header[:place]]
    if twice:
        _refuse(file, f"line {number} names the column {_short(twice[0])!r} twice", "different names")


def _matched(file: Path, indices: np.ndarray, lines: np.ndarray, keys: Sequence[str], whole_set: bool) -> np.ndarray:
    """The index of each row's record among the keys, -1 for another image; `lines` are the rows' line numbers."""
    example = f"keys of this dataset, like {_short(keys[0])!r}"
    if not len(indices):
        _refuse(file, "has a header and no rows", _FORM)

    def row(number: int) -> str:
        return f"line {lines[number]}, {_short(_key_on(file, int(lines[number])))!r}"

    unknown = np.flatnonzero(indices == -1)
    if len(unknown) == len(indices):
        _refuse(file, f"none of its {plural(len(indices), 'row')} is for an image in this dataset ({row(0)})", example)
    if whole_set and len(unknown):
        problem = f"{row(int(unknown[0]))}, is not an image in this dataset"
        if len(unknown) > 1:
            problem += f", and {plural(len(unknown) - 1, 'other row')} of {len(indices):,}"
        if 2 * len(unknown) > len(indices):
            problem += ": these seem to be labels of another dataset"
        _refuse(file, problem, example)
    if (several := np.flatnonzero(indices == -2)).size:
        _refuse(file, f"{row(int(several[0]))}, is the key of several images", "a dataset with unique keys")
    _, first = np.unique(indices, return_index=True)
    again = np.ones(len(indices), bool)
    again[first] = False
    again &= indices >= 0
    if again.any():
        second = int(again.argmax())
        earlier = int(lines[(indices == indices[second]).argmax()])
        _refuse(file, f"{row(second)}, already has a row, line {earlier}", "one row per image")
    return indices


def _key_on(file: Path, line: int) -> str:
    return next(words[0] for number, words in _rows(file) if number == line)


def _short(text: str) -> str:
    return shown(shortened(text, 60))


def _refuse(file: Path, problem: str, expected: str) -> NoReturn:
    raise InputError(f"{shown(str(file))}: {problem}; expected {expected}")
