"""Images of which some cannot be read: the others are used, and these are known by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural, shown
from adaptface_jax.data.decode import decode

LISTED = 5  # images that cannot be read, said one by one


class Readable(Sequence[np.ndarray]):
    """Images (encoded or decoded), each decoded when asked for: uint8 [H, W, 3]. One that cannot be read is black.

    unreadable: the number of each that could not be read -> why; known once it was asked for. Threads may ask.
    """

    def __init__(self, images: Sequence[Any], keys: Sequence[str]) -> None:
        """keys: what errors call the images."""
        self._images, self._keys = images, keys
        self.unreadable: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: Any) -> Any:
        try:
            return decode(self._images[index], shown(self._keys[index]))
        except InputError as error:
            self.unreadable[index] = str(error)
            return np.zeros((1, 1, 3), np.uint8)

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Which of the images from `start` to `stop` could be read, bool; all of them were asked for."""
        return np.array([number not in self.unreadable for number in range(len(self))[start:stop]], bool)

    def check_some(self) -> None:
        """Raises InputError where none of the images could be read."""
        if len(self.unreadable) == len(self):
            raise InputError(f"none of {plural(len(self), 'image')} can be read, the first: {self.unreadable[0]}")

    def lines(self) -> list[str]:
        """How many images could not be read, and why of some; nothing where all could."""
        reasons = [self.unreadable[number] for number in sorted(self.unreadable)]
        if not reasons:
            return []
        more = [f"  and {len(reasons) - LISTED:,} more"] if len(reasons) > LISTED else []
        return [
            f"unreadable: {plural(len(reasons), 'image')}, left out",
            *(f"  {why}" for why in reasons[:LISTED]),
            *more,
        ]
