# SPDX-License-Identifier: Apache-2.0
"""The rows of a pair list in any of the usual formats: its separator, and the kind of each row.

anna/1.jpg,anna/7.jpg,1          a pair: two paths and whether they are the same person (or with that label first)
Abel_Pacheco 1 4                 LFW: a name and two numbers, or twice a name and a number
anna_1.jpg 1                     half a pair: the next line is the other half (CPLFW, CALFW)
"""

from __future__ import annotations

import csv
import dataclasses
import enum
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from adaptface_jax.data.image_formats import SUFFIXES
from adaptface_jax.data.text_lines import Line, lines

# How lists label one person, and two; both -1 and 0 mean two, but not in the same list.
SAME = set("1 true yes y t same genuine match matched mated positive pos".split())
DIFFERENT = set(
    "0 -1 false no n f different diff impostor imposter mismatch mismatched unmatched nonmatch nonmated negative "
    "neg notsame".split()
)
_NAMES_TOO = {"same", "match", "genuine", "positive", "negative"}  # also names of columns
TRUTH = "1 or 0, 1 or -1, true or false, yes or no"

_JOINED = str.maketrans("", "", "-_ ")
_SEPARATORS = ("\t", ";", ",", None)  # None: any spaces
_ROUND = re.compile(r"([+-]?\d+)\.0*")
_SAMPLE = 50
# One or two paths that contain spaces, and a label, between spaces.
_ENDING = f"(?:{'|'.join(map(re.escape, SUFFIXES))})"
_SPACED = re.compile(rf"(\S.*?{_ENDING})\s+(?:(\S.*?{_ENDING})\s+)?(\S+)", re.IGNORECASE)
_LONGEST = 1000


class Form(enum.Enum):
    """The kind of rows in a list."""

    PAIR = "path path label"
    LFW = "name i j, or name1 i name2 j"
    HALF = "path label, two lines per pair"


@dataclasses.dataclass(frozen=True)
class Row:
    """A line and its cells, without surrounding whitespace and quotes."""

    line: Line
    words: list[str]


@dataclasses.dataclass(frozen=True)
class Listed:
    """rows: all rows in a file. form: the kind of most of the first rows, None if unknown."""

    file: Path
    rows: list[Row]
    form: Form | None


def read_rows(file: Path) -> Listed:
    """The rows of a pair list; the separator is the one that gives most of the first rows a known form.

    Raises InputError for a file that is not text, and, with its line, for a row that cannot be split.
    """
    found = list(lines(file, "a pair list"))
    sample = found[:_SAMPLE]
    counts = {separator: [form_of(_words(line, separator)) for line in sample] for separator in _SEPARATORS}
    separator = max(_SEPARATORS, key=lambda one: sum(form is not None for form in counts[one]))
    forms = [form for form in counts[separator] if form]
    if not forms and sample:
        separator = next((one for one in _SEPARATORS if one and one in sample[0].text), None)
    form = max(Form, key=forms.count) if forms else None
    rows = [Row(line, _words(line, separator)) for line in found]
    if separator == "\t" and has_names(rows) and len(rows[0].words) + 1 == len(rows[1].words):
        rows[0].words.insert(0, "")  # pandas' index column has an empty name, stripped with the line's whitespace
    return Listed(file, rows, form)


def truth(word: str) -> bool | None:
    """Whether a label means one person; None if it is not a label."""
    word = whole(word).lower()
    word = word.translate(_JOINED) if word[:1].isalpha() else word  # non-match, not same
    return True if word in SAME else False if word in DIFFERENT else None


class Labels:
    """The labels of one list, in which either 0 or -1 means "two people": both together would be ambiguous."""

    def __init__(self) -> None:
        self._numbers: dict[str, Line] = {}

    def read(self, line: Line, word: str) -> bool:
        """Raises InputError for anything but a label, and for a -1 in a list with 0 or vice versa."""
        same = truth(word)
        if same is None:
            line.refuse(f"same is {word!r}", TRUTH)
        number = whole(word)
        if number in ("0", "-1"):
            self._numbers.setdefault(number, line)
            for other, first in self._numbers.items():
                if other != number:
                    line.refuse(f"same is {number} here and {other} on line {first.number}", f"one of {TRUTH}")
        return same


def whole(word: str) -> str:
    """A number as pandas writes it, `1.0`, as an integer; anything else unchanged."""
    found = _ROUND.fullmatch(word)
    return found[1] if found else word


def is_number(word: str) -> bool:
    """Whether a cell is the number of an image or a fold, of at most nine digits."""
    return word.isascii() and word.isdigit() and len(word) < 10


def form_of(words: Sequence[str]) -> Form | None:
    """The kind of a row; None if unknown."""
    words = [*itertools.dropwhile(lambda word: not word, reversed(words))][::-1]  # Kaggle's short rows end with a comma
    numbers = [is_number(whole(word)) for word in words]
    if len(words) in (3, 4) and words[0] and numbers[1:] in ([True, True], [True, False, True], [True, True, True]):
        return Form.LFW if len(words) == 3 or words[2] else None
    if len(words) == 3 and (truth(words[2]) is None) != (truth(words[0]) is None):
        return Form.PAIR
    return Form.HALF if len(words) == 2 and words[0] and truth(words[1]) is not None and not numbers[0] else None


def has_names(rows: Sequence[Row]) -> bool:
    """Whether the first row may name the columns: words only, none of them a path, a number or a label, unlike the
    second row."""
    return len(rows) > 1 and _are_names(rows[0].words) and not _are_names(rows[1].words)


def _are_names(words: Sequence[str]) -> bool:
    return not any(
        (truth(word) is not None and word.lower() not in _NAMES_TOO) or is_number(whole(word))
        or "/" in word or "\\" in word or word.lower().endswith(SUFFIXES)
        for word in words
    )  # fmt: skip


def _words(line: Line, separator: str | None) -> list[str]:
    if separator is None and '"' not in line.text:
        words = line.text.split()
        if len(words) < 3 or "\t" in line.text or truth(words[0]) is not None or len(line.text) > _LONGEST:
            return words
        found = _SPACED.fullmatch(line.text)
        return [word for word in found.groups() if word] if found else words
    try:
        if separator is None:
            return [word for word in next(csv.reader([line.text], delimiter=" ", skipinitialspace=True)) if word]
        return [word.strip() for word in next(csv.reader([line.text], delimiter=separator, skipinitialspace=True))]
    except csv.Error as error:
        line.refuse(str(error), "a pair list")
