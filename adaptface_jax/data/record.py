"""What every data source gives: encoded or decoded images with a label and a key, and what else is known of them."""

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

# Keys that are made at a time for a digest of all.
BLOCK = 1 << 16


@dataclasses.dataclass(frozen=True)
class Record:
    """One image of one identity or class, or with attributes.

    image: encoded bytes (JPEG, PNG, PGM ...) or a decoded uint8 array [H, W, 3].
    label: class in 0..C-1, or NO_CLASS in a multi-label set, whose labels stand in the source alone.
    key: names the record in its source.
    """

    image: bytes | np.ndarray
    label: int
    key: str


class Source(abc.ABC):
    """A random-access set of labeled images (the protocol of `grain.RandomAccessDataSource`).

    labels: without decoding any image, int32 [N], the class of every record; or, of a multi-label set, int32 [N, A] of
    0 and 1, its attributes.
    class_names: what the set itself calls class 0..C-1 (folders, raw labels, names), or attribute 0..A-1.
    description: one line for the run's summary: form and place.
    table: what else is known of the records, where it was read; label_columns: what of, even where it was not.
    domains: uint8 [N, K], 1 where a record is of a domain, a row of zeros if it is of none or nothing is known;
    None if there are no domains. domain_names: what they are called.
    image_size: (width, height) of every image, where that is known without reading one.
    skipped_files: what stands where the set lies and is none of its records.
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
        """Know of the records what `source` knows of those at `indices`, and of the set what it knows."""
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
        """Whether an image has attributes, any number of them, in place of one class."""
        return self.labels.ndim == 2

    def __len__(self) -> int:
        return len(self.labels)

    @abc.abstractmethod
    def __getitem__(self, index: int) -> Record:
        """Raises InputError for a record that cannot be read."""

    @abc.abstractmethod
    def key(self, index: int) -> str:
        """The key of a record, without reading it; relative to the set, so that a moved set keeps its keys."""

    def key_blocks(self) -> Iterator[bytes]:
        """Every record's key in order, each ended by NUL; a set that has them in a quicker way gives them so."""
        for start in range(0, len(self), BLOCK):
            keys = map(self.key, range(start, min(start + BLOCK, len(self))))
            yield os.fsencode("".join(f"{key}\0" for key in keys))

    @functools.cached_property
    def keys_sha256(self) -> str:
        """sha256 of every record's key, in order: another order, or one file more, is another digest."""
        digest = hashlib.sha256()
        for block in self.key_blocks():
            digest.update(block)
        return digest.hexdigest()


class Keys(Sequence[str]):
    """The keys of a source's records, made when asked for."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        return self._source.key(index)


class Images(Sequence[bytes | np.ndarray]):
    """The images of a source as an evaluation takes them: read when asked for. keys: their names in errors."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.keys: Sequence[str] = _Names(source)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> bytes | np.ndarray:  # type: ignore[override]
        return self._source[index].image


class _Names(Keys):
    """What errors call the records of a source."""

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
    """sha256 of texts in order, each ended by NUL."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(os.fsencode(text) + b"\0")
    return digest.hexdigest()
