"""What the parts of a set are called by those who publish one."""

from __future__ import annotations

from collections.abc import Iterable

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown

WORDS = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("test",)}


def parts_called(words: Iterable[str], place: str) -> dict[str, str]:
    """Part -> the word it is called by, of the words that call one.

    place: names the set in errors. Raises InputError if two words call one part.
    """
    there, found = set(words), {}
    for part, known in WORDS.items():
        called = [word for word in known if word in there]
        if len(called) > 1:
            raise InputError(f"{shown(place)}: holds both {called[0]} and {called[1]}; expected one {part} part")
        if called:
            found[part] = called[0]
    return found
