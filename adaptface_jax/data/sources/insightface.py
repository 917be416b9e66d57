# SPDX-License-Identifier: Apache-2.0
"""InsightFace training sets: `train.rec`, `train.idx` and `property` in one folder; or, as written by im2rec, any
`NAME.rec` and `NAME.idx`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown
from adaptface_jax.data.image_files import skipped_beside
from adaptface_jax.data.labels import LABELS
from adaptface_jax.data.record import BLOCK, Record, Source
from adaptface_jax.data.skipped_files import BESIDE_RECORDS
from adaptface_jax.data.sources.recordio import RecordFile
from adaptface_jax.data.text_array import TextArray

# float32 represents every integer up to here; larger keys in record 0 and in the identity records are rounded.
_EXACT = 1 << 24


class InsightFaceSource(Source):
    """The images of one folder in key order; a `Source`, thread-safe, picklable.

    Two layouts exist. Identity: record 0 carries two labels and no image, `(first identity key, end key)`; images are
    keys 1 up to that first key, and each identity record holds `(first, last)` of its images, the last exclusive. The
    ranges give every label without touching the images, and each image is checked against its range when read. Flat:
    record 0, if any, is an image; the labels are read once from every header. Labels may start anywhere and have gaps,
    as after cleaning; they are mapped to 0..C-1 in ascending order, which the description mentions. Classes and sizes
    come from the records, not from `property`, which cleaning leaves outdated and im2rec does not write; the
    description reports a difference. A record's key is `record N`, N its key in the index.

    Without an index the records are found from one to the next, which reads a little of each.
    Raises InputError for files that are missing, truncated or inconsistent.
    """

    def __init__(self, folder: Path, name: str = "train"):
        self._folder = folder
        claimed = _claimed_classes(folder / "property") if (folder / "property").exists() else None
        self._records = RecordFile(folder / f"{name}.rec", folder / f"{name}.idx")
        self._keys, ranges = self._layout()
        if not len(self._keys):
            raise InputError(f"{folder}: {name}.rec holds no images; {_PACK}")
        self._raw = self._raw_labels(ranges)
        values, labels = _numbered(self._raw)
        notes = "" if self._records.indexed else f", no {name}.idx: keys from the records"
        if values[-1] - values[0] + 1 != len(values):
            notes += f", labels {values[0]:.0f} to {values[-1]:.0f} with gaps mapped to 0 to {len(values) - 1}"
        if name != "train":
            notes = f", {shown(name)}.rec{notes}"
        if claimed not in (None, len(values)):
            notes += f", property claims {claimed} identities"
        names = TextArray.of(str(value) for value in values.astype(np.int64).tolist())
        super().__init__(
            labels.astype(np.int32, copy=False), names, f"InsightFace records in {shown(str(folder))}{notes}"
        )
        own = {f"{name}.rec", f"{name}.idx", "property", LABELS}
        self.skipped_files = skipped_beside(folder, own, BESIDE_RECORDS)

    def __getitem__(self, index: int) -> Record:
        key = int(self._keys[index])
        labels, image = self._records.read_image(key)
        name = self._records.name(key)
        if labels[0] != self._raw[index]:
            raise InputError(f"{name}: has label {labels[0]:g}, its identity has {self._raw[index]:g}; {_PACK}")
        return Record(image, int(self.labels[index]), self.key(index))

    def key(self, index: int) -> str:
        return f"record {self._keys[index]}"

    def _layout(self) -> tuple[np.ndarray, np.ndarray]:
        """The image keys, and the half-open key range of each identity, int64 [C, 2] (none in the flat layout)."""
        keys, none = self._records.keys, np.empty((0, 2), np.int64)
        if keys[0] != 0:
            return keys, none
        labels, image = self._records.read_image(0)
        if len(labels) != 2 or image:
            return keys, none
        first, end = self._counts(0, labels)
        if end >= _EXACT:
            # The header is rounded, the index is not: an identity record is one that carries only labels.
            return keys[1:][self._records.contents(keys[1:]).images], none
        if not 1 <= first <= end:
            raise InputError(f"{self._records.name(0)}: places the identities at {first} to {end}; {_PACK}")
        people = keys[np.searchsorted(keys, first) : np.searchsorted(keys, end)]
        if len(people) < end - first:
            gaps = np.flatnonzero(people != np.arange(first, first + len(people)))
            self._records.read(first + int(gaps[0] if len(gaps) else len(people)))  # it is not in the index
        found = self._records.contents(people)
        valid = (found.counts == 2) & _are_counts(found.labels).all(axis=1)
        for key in people[~valid][:1].tolist():
            self._counts(key, self._records.read_image(key)[0])
        start, stop = found.labels.astype(np.float64).T
        for place in np.flatnonzero(~((start >= 1) & (start <= stop) & (stop <= first)))[:1].tolist():
            raise InputError(
                f"{self._records.name(int(people[place]))}: an identity with images {start[place]:.0f} to "
                f"{stop[place]:.0f}, of {first - 1}; {_PACK}"
            )
        ranges = found.labels.astype(np.int64)
        return keys[(keys >= 1) & (keys < first)], ranges

    def _counts(self, key: int, labels: tuple[float, ...]) -> tuple[int, int]:
        if len(labels) != 2 or not all(value >= 0 and value.is_integer() for value in labels):
            raise InputError(f"{self._records.name(key)}: expected two keys, found labels {labels[:4]}; {_PACK}")
        return int(labels[0]), int(labels[1])

    def _raw_labels(self, ranges: np.ndarray) -> np.ndarray:
        """float32 [N], the labels as stored in the file, that of a range from its first image; images outside every
        range are read individually."""
        low, high = np.searchsorted(self._keys, ranges).T if len(ranges) else (np.empty(0, np.int64),) * 2
        kept = np.flatnonzero(low < high)
        kept = kept[np.argsort(low[kept], kind="stable")]
        low, high = low[kept], high[kept]
        if (twice := np.flatnonzero(low[1:] < high[:-1])).size:
            start, stop = ranges[kept[twice[0] : twice[0] + 2].max()]
            raise InputError(f"{self._folder}: two identities claim images {start} to {stop}; {_PACK}")
        claimed = np.zeros(len(self._keys) + 1, np.int8)
        claimed[low] += 1
        claimed[high] -= 1
        inside = np.cumsum(claimed[:-1], dtype=np.int8).astype(bool)
        raw = np.empty(len(self._keys), np.float32)
        raw[inside] = np.repeat(self._labels_at(low), high - low)
        raw[~inside] = self._labels_at(np.flatnonzero(~inside))
        return raw

    def _labels_at(self, indices: np.ndarray) -> np.ndarray:
        """float32 [n], the labels that the records of these images carry."""
        labels = self._records.contents(self._keys[indices]).labels[:, 0]
        for index in indices[~_are_counts(labels)][:1].tolist():
            self._refuse(index)
        return labels

    def key_blocks(self) -> Iterator[bytes]:
        for start in range(0, len(self), BLOCK):
            yield "".join(f"record {key}\0" for key in self._keys[start : start + BLOCK].tolist()).encode()

    def _refuse(self, index: int) -> NoReturn:
        key = int(self._keys[index])
        label = self._records.read_image(key)[0][0]
        raise InputError(f"{self._records.name(key)}: the label {label:g} is not a non-negative integer; {_PACK}")


def _are_counts(labels: np.ndarray) -> np.ndarray:
    """Whether each label is a non-negative integer."""
    return (labels >= 0) & (labels < 2.0**53) & (np.floor(labels) == labels)


def _numbered(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values of counts [N], ascending, and the index of each among them; without sorting if they are
    dense."""
    if raw.max() >= 4 * len(raw) + 1024:
        return np.unique(raw, return_inverse=True)
    whole = raw.astype(np.int64)
    there = np.zeros(whole.max() + 1, bool)
    there[whole] = True
    return np.flatnonzero(there), (np.cumsum(there, dtype=np.int32) - 1)[whole]


_PACK = "the dataset is corrupted or incomplete: copy or pack it again"


def _claimed_classes(path: Path) -> int:
    """The first of `num_classes,H,W` (a newer packer adds lines)."""
    expected = "expected a first line `num_classes,height,width`"
    try:
        with path.open("rb") as file:
            line = file.readline(200)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {expected}") from None
    fields = line.split(b",")
    if len(fields) != 3 or not all(field.strip().isdigit() for field in fields):
        raise InputError(f"{path}: found {line[:40]!r}; {expected}")
    return int(fields[0])
