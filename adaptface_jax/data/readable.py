"""Images of which some cannot be read: the others are used, and the unreadable ones are recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural, shown
from adaptface_jax.data.decode import decode
from adaptface_jax.data.record import Images, Source

LISTED = 5  # unreadable images that are listed


class Readable(Sequence[np.ndarray]):
    """Images (encoded or decoded), each decoded on access: uint8 [H, W, 3]. One that cannot be read is black.

    given: the images as passed in. keys: their names in errors. unreadable: the number of each that could not be
    read -> why; known after the access. Thread-safe.
    """

    def __init__(self, images: Sequence[Any], keys: Sequence[str], strict: bool = False) -> None:
        """strict: accessing an image that cannot be read raises InputError."""
        self.given, self.keys, self._strict = images, keys, strict
        self.unreadable: dict[int, str] = {}

    @classmethod
    def of(cls, source: Source, strict: bool) -> Self:
        """The images of a source."""
        images = Images(source)
        return cls(images, images.keys, strict)

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, index: Any) -> Any:
        try:
            return decode(self.given[index], shown(self.keys[index]))
        except InputError as error:
            if self._strict:
                raise
            self.unreadable[index] = str(error)
            return np.zeros((1, 1, 3), np.uint8)

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Which of the images from `start` to `stop` could be read, bool; all of them must have been accessed."""
        return np.array([number not in self.unreadable for number in range(len(self))[start:stop]], bool)

    def check_some(self) -> None:
        """Raises InputError if none of the images could be read."""
        if len(self.unreadable) == len(self):
            raise InputError(f"none of {plural(len(self), 'image')} can be read; the first: {self.unreadable[0]}")

    def lines(self, what: str = "unreadable") -> list[str]:
        """How many images could not be read, with the reasons of the first; nothing if all could."""
        reasons = [self.unreadable[number] for number in sorted(self.unreadable)]
        if not reasons:
            return []
        more = [f"  and {len(reasons) - LISTED:,} more"] if len(reasons) > LISTED else []
        return [
            f"{what}: {plural(len(reasons), 'image')}, skipped",
            *(f"  {why}" for why in reasons[:LISTED]),
            *more,
        ]
