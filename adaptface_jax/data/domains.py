"""Domains of images, derived from their labels: the conditions in which an image was taken, any number of them.

pose=left|right; age=old|child; light=bad     a domain each, named after its column: any of these values
turned:pose=left|right; dark:light=bad        with other names
pose=left|right; light=bad; ordinary          and one for the images in no condition, all of whose columns are known
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable
from typing import NoReturn

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shortened, shown
from adaptface_jax.data.labels import UNKNOWN, LabelTable

ORDINARY = "ordinary"

_SETTING = "data.domains"
_FORM = "terms like pose=left|right separated by `;`"


@dataclasses.dataclass(frozen=True)
class Term:
    """The images whose `column` has one of `values`; without a column, those that no other term includes."""

    name: str
    column: str = ""
    values: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Domains:
    """K domains, in the order in which they were written."""

    terms: tuple[Term, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(term.name for term in self.terms)

    def membership(self, table: LabelTable) -> np.ndarray:
        """uint8 [N, K]: 1 where an image belongs to a domain; a row of zeros if nothing is known or none applies.

        A column that the table lacks is unknown for every image (`check` refuses such a table).
        """
        found = np.zeros((len(table), len(self.terms)), np.uint8)
        known = np.ones(len(table), bool)
        for k, term in enumerate(self.terms):
            if not term.column:
                continue
            column = table.columns.get(term.column)
            if column is None:
                known[:] = False
                continue
            known &= column.known
            for value in term.values:
                found[:, k] |= column.holds(value)
        if ORDINARY in self.names:
            found[:, self.names.index(ORDINARY)] = known & ~found.any(axis=1)
        return found

    def check(self, table: LabelTable) -> None:
        """Raise InputError for a column that the table lacks, and for a value or a domain that no image has."""
        for term in self.terms:
            if not term.column:
                continue
            if term.column not in table.columns:
                _refuse(
                    f"{table.place} has no column {_short(term.column)!r}", _nearest(term.column, table.columns, "of")
                )
            column = table.columns[term.column]
            there = [column.values[code] for code in np.unique(column.codes).tolist() if code]
            for value in term.values:
                if value not in there:
                    problem = f"no image has {_short(term.column)} = {_short(value)!r} in {table.place}"
                    _refuse(problem, _nearest(value, there, "of the values"))
        if not (of_domain := self.membership(table).any(axis=0)).all():
            name = self.names[int(of_domain.argmin())]
            _refuse(f"no image in {table.place} is in the domain {_short(name)!r}", "images in every domain")


def parse_domains(text: str) -> Domains:
    """`[name:]column=value|value; ...; ordinary` -> Domains. Raises InputError for anything else."""
    terms = tuple(_term(part.strip()) for part in text.split(";") if part.strip())
    if len(terms) < 2:
        _refuse(f"{_short(text)!r} defines {len(terms)} domain{'s' if not terms else ''}", f"at least 2, {_FORM}")
    names = [term.name for term in terms]
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        _refuse(
            f"two domains are named {_short(twice[0])!r}", "different names, as in left:pose=left; right:pose=right"
        )
    return Domains(terms)


def _term(text: str) -> Term:
    if text == ORDINARY:
        return Term(ORDINARY)
    left, equals, right = text.partition("=")
    name, colon, column = (part.strip() for part in left.rpartition(":"))
    values = tuple(value.strip() for value in right.split("|"))
    if not equals or not column or (colon and not name) or UNKNOWN in values or len(set(values)) < len(values):
        _refuse(f"{_short(text)!r} is not a term", f"{_FORM}, or {ORDINARY}")
    if (name or column) == ORDINARY:
        _refuse(f"{_short(text)!r} is named {ORDINARY}", "that word alone, for the images in no condition")
    return Term(name or column, column, values)


def _nearest(word: str, known: Iterable[str], what: str) -> str:
    """The known words, the nearest first."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    ordered = near + [other for other in known if other not in near]
    more = f" and {len(ordered) - 12} more" if len(ordered) > 12 else ""
    return f"one {what} {', '.join(map(_short, ordered[:12]))}{more}" if ordered else "a column with values"


def _short(text: str) -> str:
    return shown(shortened(text, 60))


def _refuse(problem: str, expected: str) -> NoReturn:
    raise InputError(f"{_SETTING}: {problem}; expected {expected}")
