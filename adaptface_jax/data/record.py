"""What every data source gives: encoded or decoded images with a label, a domain and a key."""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import os
from collections.abc import Iterable, Sequence

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


class Source(abc.ABC):
    """A random-access set of labelled images (the protocol of `grain.RandomAccessDataSource`).

    labels: int32 [N], the class of every record, without decoding any image.
    class_names: what the set itself calls class 0..C-1: folders, raw labels, names.
    description: one line for the run's summary: form and place.
    """

    def __init__(self, labels: np.ndarray, class_names: Sequence[str], description: str) -> None:
        self.labels, self.class_names, self.description = labels, class_names, description

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self.labels)

    @abc.abstractmethod
    def __getitem__(self, index: int) -> Record:
        """Raises InputError for a record that cannot be read."""

    @abc.abstractmethod
    def key(self, index: int) -> str:
        """The key of a record, without reading it; relative to the set, so that a moved set keeps its keys."""


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
