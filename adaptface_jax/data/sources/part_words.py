# SPDX-License-Identifier: Apache-2.0
"""The names under which the parts of a dataset are published."""

from __future__ import annotations

from collections.abc import Iterable

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown

WORDS = {"train": ("train", "training"), "validation": ("val", "valid", "validation"), "test": ("test", "testing")}


def parts_called(words: Iterable[str], place: str) -> dict[str, str]:
    """Part -> the word that names it, among `words`, in any case.

    place: names the dataset in errors. Raises InputError if two words name the same part.
    """
    there, found = sorted(set(words), key=str.casefold), {}
    for part, known in WORDS.items():
        called = [word for word in there if word.casefold() in known]
        if len(called) > 1:
            raise InputError(f"{shown(place)}: holds both {called[0]} and {called[1]}; expected one {part} part")
        if called:
            found[part] = called[0]
    return found


def are_parts(words: Iterable[str]) -> bool:
    """Whether folders are the parts of a dataset, not people or classes: all of them may be, or one surely is."""
    called = {word.casefold() for word in words}
    return called <= _KNOWN or bool(called & {*WORDS["train"], *WORDS["test"]})


_KNOWN = {word for words in WORDS.values() for word in words} | {"dev", "eval", "gallery", "probe", "query"}
