"""The names under which the parts of a dataset are published."""

from __future__ import annotations

from collections.abc import Iterable

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown

WORDS = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("test",)}


def parts_called(words: Iterable[str], place: str) -> dict[str, str]:
    """Part -> the word that names it, among `words`.

    place: names the dataset in errors. Raises InputError if two words name the same part.
    """
    there, found = set(words), {}
    for part, known in WORDS.items():
        called = [word for word in known if word in there]
        if len(called) > 1:
            raise InputError(f"{shown(place)}: holds both {called[0]} and {called[1]}; expected one {part} part")
        if called:
            found[part] = called[0]
    return found
