"""InsightFace training sets: `train.rec`, `train.idx` and `property` in one folder; or what im2rec writes, any
`NAME.rec` and `NAME.idx`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown
from adaptface_jax.data.image_files import passed_over_beside
from adaptface_jax.data.labels import LABELS
from adaptface_jax.data.passed_over import BESIDE_RECORDS
from adaptface_jax.data.record import Record, Source
from adaptface_jax.data.sources.recordio import RecordFile
from adaptface_jax.data.text_array import TextArray

# float32 holds every integer up to here; larger keys in record 0 and in the identity records are rounded.
_EXACT = 1 << 24


class InsightFaceSource(Source):
    """The images of one folder in key order; a `Source`, safe in threads, picklable.

    Two layouts exist. Identity: record 0 carries two labels and no image, `(first identity key, end key)`; images are
    keys 1 to that first key, and each identity record holds `(first, last)` of its images, the last exclusive. The
    ranges give every label without touching the images, and each image is checked against its range when read. Flat:
    record 0, if any, is an image; the labels are read once from every header. Labels may start anywhere and skip, as
    they do after a set was cleaned; they are mapped to 0..C-1 in ascending order, and the description says so. Classes
    and sizes come from the records and not from `property`, which cleaning leaves behind and im2rec does not write; the
    description says where they differ. A record's key is `record N`, N its key in the index.

    Raises InputError for files that are missing, truncated or contradict themselves.
    """

    def __init__(self, folder: Path, name: str = "train"):
        self._folder = folder
        claimed = _claimed_classes(folder / "property") if (folder / "property").exists() else None
        self._records = RecordFile(folder / f"{name}.rec", folder / f"{name}.idx")
        self._keys, ranges = self._layout()
        if not len(self._keys):
            raise InputError(f"{folder}: {name}.rec holds no images; {_PACK}")
        self._raw = self._raw_labels(ranges)
        values, labels = np.unique(self._raw, return_inverse=True)
        notes = ""
        if values[-1] - values[0] + 1 != len(values):
            notes += f", labels {values[0]:.0f} to {values[-1]:.0f} with gaps mapped to 0 to {len(values) - 1}"
        if name != "train":
            notes = f", {shown(name)}.rec{notes}"
        if claimed not in (None, len(values)):
            notes += f", property claims {claimed} identities"
        names = TextArray.of(str(value) for value in values.astype(np.int64).tolist())
        super().__init__(labels.astype(np.int32), names, f"InsightFace records in {shown(str(folder))}{notes}")
        own = {f"{name}.rec", f"{name}.idx", "property", LABELS}
        self.passed_over = passed_over_beside(folder, own, BESIDE_RECORDS)

    def __getitem__(self, index: int) -> Record:
        key = int(self._keys[index])
        labels, image = self._records.read_image(key)
        name = self._records.name(key)
        if labels[0] != self._raw[index]:
            raise InputError(f"{name}: has label {labels[0]:g}, its identity has {self._raw[index]:g}; {_PACK}")
        return Record(image, int(self.labels[index]), self.key(index))

    def key(self, index: int) -> str:
        return f"record {self._keys[index]}"

    def _layout(self) -> tuple[np.ndarray, list[tuple[int, int]]]:
        """The image keys, and the half-open key range of each identity (none known in the flat layout)."""
        keys = self._records.keys
        if keys[0] != 0:
            return keys, []
        labels, image = self._records.read_image(0)
        if len(labels) != 2 or image:
            return keys, []
        first, end = self._counts(0, labels)
        if end >= _EXACT:
            # The header is rounded, the index is not: an identity record is one that carries labels alone.
            return np.array([key for key in keys[1:] if self._records.read_image(int(key))[1]], np.int64), []
        if not 1 <= first <= end:
            raise InputError(f"{self._records.name(0)}: places the identities at {first} to {end}; {_PACK}")
        ranges = []
        for key in range(first, end):
            start, stop = self._counts(key, self._records.read_image(key)[0])
            if not 1 <= start <= stop <= first:
                raise InputError(
                    f"{self._records.name(key)}: an identity of images {start} to {stop}, of {first - 1}; {_PACK}"
                )
            ranges.append((start, stop))
        return keys[(keys >= 1) & (keys < first)], ranges

    def _counts(self, key: int, labels: tuple[float, ...]) -> tuple[int, int]:
        if len(labels) != 2 or not all(value >= 0 and value.is_integer() for value in labels):
            raise InputError(f"{self._records.name(key)}: expected two keys, found labels {labels[:4]}; {_PACK}")
        return int(labels[0]), int(labels[1])

    def _raw_labels(self, ranges: list[tuple[int, int]]) -> np.ndarray:
        """float32 [N], the labels as the file writes them; images outside every range are read one by one."""
        raw = np.full(len(self._keys), np.nan, np.float32)
        for start, stop in ranges:
            low, high = np.searchsorted(self._keys, (start, stop))
            if not np.isnan(raw[low:high]).all():
                raise InputError(f"{self._folder}: two identities claim images {start} to {stop}; {_PACK}")
            if low < high:
                raw[low:high] = self._label(int(low))
        for index in np.flatnonzero(np.isnan(raw)).tolist():
            raw[index] = self._label(index)
        return raw

    def _label(self, index: int) -> float:
        key = int(self._keys[index])
        label = self._records.read_image(key)[0][0]
        if not (label.is_integer() and label >= 0):
            raise InputError(f"{self._records.name(key)}: the label {label:g} is no count from 0 on; {_PACK}")
        return label


_PACK = "the set is damaged or half copied: copy or pack it again"


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
