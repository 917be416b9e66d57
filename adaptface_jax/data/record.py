"""What every data source provides: encoded or decoded images with a label and a key, and what else is known."""

from __future__ import annotations

import abc
import dataclasses
import functools
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from adaptface_jax.core.text import shown
from adaptface_jax.data.labels import LabelTable
from adaptface_jax.data.skipped_files import SkippedFiles

NO_CLASS = -1

# How many keys are created at a time for a digest of all.
BLOCK = 1 << 16


@dataclasses.dataclass(frozen=True)
class Record:
    """One image of one identity or class, or with attributes.

    image: encoded bytes (JPEG, PNG, PGM ...) or a decoded uint8 array [H, W, 3].
    label: class in 0..C-1, or NO_CLASS in a multi-label dataset, whose labels only the source holds.
    key: names the record in its source.
    """

    image: bytes | np.ndarray
    label: int
    key: str


class Source(abc.ABC):
    """A random-access dataset of labeled images (the protocol of `grain.RandomAccessDataSource`).

    labels: available without decoding any image: int32 [N], the class of every record; or, in a multi-label dataset,
    int32 [N, A] of 0 and 1, its attributes.
    class_names: the dataset's own names of classes 0..C-1 (folders, raw labels, names), or of attributes 0..A-1.
    description: one line for the run's summary: format and location.
    table: further labels of the records, if they were read; label_columns: their names, even if not.
    domains: uint8 [N, K], 1 where a record belongs to a domain, a row of zeros if it belongs to none or nothing is
    known; None if there are no domains. domain_names: their names.
    image_size: (width, height) of every image, if known without reading one.
    skipped_files: the files in the dataset's folder that are not its records.
    """

    table: LabelTable | None = None
    label_columns: tuple[str, ...] = ()
    domains: np.ndarray | None = None
    domain_names: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None
    skipped_files: SkippedFiles = SkippedFiles()

    def __init__(self, labels: np.ndarray, class_names: Sequence[str], description: str) -> None:
        self.labels, self.class_names, self.description = labels, class_names, description

    def know_as(self, source: Source, indices: np.ndarray | slice = slice(None)) -> None:
        """Take over what `source` knows of the records at `indices`, and of the dataset."""
        self.table = None if source.table is None else source.table.take(indices)
        self.domains = None if source.domains is None else source.domains[indices]
        self.label_columns, self.domain_names = source.label_columns, source.domain_names
        self.image_size, self.skipped_files = source.image_size, source.skipped_files

    @property
    def num_classes(self) -> int:
        """C, or A."""
        return len(self.class_names)

    @property
    def multi_label(self) -> bool:
        """Whether an image has any number of attributes instead of one class."""
        return self.labels.ndim == 2

    def __len__(self) -> int:
        return len(self.labels)

    @abc.abstractmethod
    def __getitem__(self, index: int) -> Record:
        """Raises InputError for a record that cannot be read."""

    @abc.abstractmethod
    def key(self, index: int) -> str:
        """The key of a record, without reading it; relative to the dataset, so that it keeps its keys when moved."""

    def key_blocks(self) -> Iterator[bytes]:
        """Every record's key in order, NUL-terminated; sources override this if they have a faster way."""
        for start in range(0, len(self), BLOCK):
            keys = map(self.key, range(start, min(start + BLOCK, len(self))))
            yield os.fsencode("".join(f"{key}\0" for key in keys))

    @functools.cached_property
    def keys_sha256(self) -> str:
        """sha256 of every record's key, in order: reordering or an added file changes it."""
        digest = hashlib.sha256()
        for block in self.key_blocks():
            digest.update(block)
        return digest.hexdigest()


class Keys(Sequence[str]):
    """The keys of a source's records, created on access."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        return self._source.key(index)


class Images(Sequence[bytes | np.ndarray]):
    """The images of a source in the form that evaluation takes: read on access. keys: their names in errors."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.keys: Sequence[str] = _Names(source)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> bytes | np.ndarray:  # type: ignore[override]
        return self._source[index].image


class _Names(Keys):
    """The names of a source's records in errors."""

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        return f"{self._source.description}: {shown(super().__getitem__(index))}"


def domains_digest(source: Source) -> str:
    """sha256 of every record's domains, in order; raises ValueError if the source has none."""
    if source.domains is None:
        raise ValueError(f"{source.description}: has no domains")
    return hashlib.sha256(source.domains.tobytes()).hexdigest()


def labels_digest(source: Source) -> str:
    """sha256 of every record's class or attributes, in order."""
    return hashlib.sha256(np.ascontiguousarray(source.labels, "<i4").data).hexdigest()


def texts_digest(texts: Iterable[str]) -> str:
    """sha256 of strings in order, each NUL-terminated."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(os.fsencode(text) + b"\0")
    return digest.hexdigest()
