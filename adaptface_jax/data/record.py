"""What every data source gives: encoded or decoded images with a label, a domain and a key."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Sequence
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
    """A random-access set of labelled images (the protocol of `grain.RandomAccessDataSource`).

    Reading a record raises InputError where it cannot be read.
    """

    @property
    def num_classes(self) -> int: ...

    @property
    def class_names(self) -> Sequence[str]:
        """What the set itself calls class 0..C-1: folders, raw labels, names."""
        ...

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

    def key(self, index: int) -> str:
        """The key of a record, without reading it; relative to the set, so that a moved set keeps its keys."""
        ...


def labels_digest(source: Source) -> str:
    """sha256 of every record's class, in order."""
    return hashlib.sha256(source.labels.astype("<i4").tobytes()).hexdigest()


def keys_digest(source: Source) -> str:
    """sha256 of every record's key, in order: another order, or one file more, is another digest."""
    return texts_digest(source.key(index) for index in range(len(source)))


def texts_digest(texts: Iterable[str]) -> str:
    """sha256 of texts in order, each ended by NUL."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(os.fsencode(text) + b"\0")
    return digest.hexdigest()
