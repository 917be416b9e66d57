"""The conditions of single images as the rows of a list of pairs name them: `pose`, `pose+light`, `ordinary`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from adaptface_jax.data.domains import ORDINARY
from adaptface_jax.data.text_lines import Line

_JOIN = "+"


@dataclasses.dataclass
class ImageDomains:
    """What the rows read so far say. said: number of an image -> its conditions, and the line that names them first."""

    said: dict[int, tuple[tuple[str, ...], Line]] = dataclasses.field(default_factory=dict)

    def add(self, line: Line, image: int, text: str) -> None:
        """Empty says nothing. Raises InputError for what names no conditions, or others than an earlier line."""
        if not text:
            return
        names = tuple(dict.fromkeys(name.strip() for name in text.split(_JOIN)))
        if "" in names or (ORDINARY in names and len(names) > 1):
            expected = f"conditions joined by {_JOIN}, the word {ORDINARY} alone, or nothing where they are unknown"
            line.refuse(f"{text!r} names no conditions", expected)
        before, first = self.said.setdefault(image, (names, line))
        if set(before) != set(names):
            line.refuse(
                f"an image is {_JOIN.join(names)} here and {_JOIN.join(before)} in line {first.number}",
                "the same conditions wherever an image stands",
            )

    def names(self) -> tuple[str, ...]:
        """Of the conditions, in order of appearance."""
        return tuple(dict.fromkeys(name for names, _ in self.said.values() for name in names))

    def membership(self, images: int) -> np.ndarray | None:
        """uint8 [images, K], by `names`; a row of zeros: nothing is said. None if no row says anything."""
        if not self.said:
            return None
        place = {name: number for number, name in enumerate(self.names())}
        table = np.zeros((images, len(place)), np.uint8)
        for image, (names, _) in self.said.items():
            table[image, [place[name] for name in names]] = 1
        return table


def conditions_text(names: Sequence[str]) -> str:
    """How a row names an image of these conditions, which `ImageDomains.add` reads; empty for none."""
    return _JOIN.join(names)
