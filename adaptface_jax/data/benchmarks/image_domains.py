"""The conditions of single images as the rows of a pair list name them: `pose`, `pose+light`, `ordinary`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from adaptface_jax.data.domains import ORDINARY
from adaptface_jax.data.text_lines import Line

_JOIN = "+"


@dataclasses.dataclass
class ImageDomains:
    """The conditions in the rows read so far. said: image number -> its conditions, and the line first naming them."""

    said: dict[int, tuple[tuple[str, ...], Line]] = dataclasses.field(default_factory=dict)

    def add(self, line: Line, image: int, text: str) -> None:
        """Empty text is ignored. Raises InputError for malformed conditions, or others than on an earlier line."""
        if not text:
            return
        names = tuple(dict.fromkeys(name.strip() for name in text.split(_JOIN)))
        if "" in names or (ORDINARY in names and len(names) > 1):
            expected = f"conditions joined by {_JOIN}, the word {ORDINARY} alone, or nothing if they are unknown"
            line.refuse(f"{text!r} names no conditions", expected)
        before, first = self.said.setdefault(image, (names, line))
        if set(before) != set(names):
            line.refuse(
                f"an image is {_JOIN.join(names)} here and {_JOIN.join(before)} on line {first.number}",
                "the same conditions wherever an image occurs",
            )

    def names(self) -> tuple[str, ...]:
        """The names of the conditions, in order of appearance."""
        return tuple(dict.fromkeys(name for names, _ in self.said.values() for name in names))

    def membership(self, images: int) -> np.ndarray | None:
        """uint8 [images, K], in the order of `names`; a row of zeros: unknown. None if no row names any conditions."""
        if not self.said:
            return None
        place = {name: number for number, name in enumerate(self.names())}
        table = np.zeros((images, len(place)), np.uint8)
        for image, (names, _) in self.said.items():
            table[image, [place[name] for name in names]] = 1
        return table


def conditions_text(names: Sequence[str]) -> str:
    """How a row writes these conditions of an image, for `ImageDomains.add` to read; empty for none."""
    return _JOIN.join(names)
