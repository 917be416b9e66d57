"""What every data source gives: encoded or decoded images with a label, a domain and a key."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np

UNKNOWN_DOMAIN = -1


@dataclasses.dataclass(frozen=True)
class Record:
    """One image of one identity.

    image: encoded bytes (JPEG, PNG, PGM ...) or a decoded uint8 array [H, W, 3].
    label: class in 0..C-1. domain: 0..K-1, or UNKNOWN_DOMAIN. key: names the record in its source.
    """

    image: bytes | np.ndarray
    label: int
    key: str
    domain: int = UNKNOWN_DOMAIN


class Source(Protocol):
    """A random-access set of labelled images (the protocol of `grain.RandomAccessDataSource`)."""

    @property
    def num_classes(self) -> int: ...

    @property
    def labels(self) -> np.ndarray:
        """int32 [N], the class of every record, without decoding any image."""
        ...

    @property
    def description(self) -> str:
        """One line for the run's header: form and place."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Record: ...
