"""Labeled image datasets prepared by TensorFlow Datasets, read without TensorFlow.

    tfds:lfw    tfds:NAME    tfds:NAME/CONFIG:1.2.0:SPLIT    SPLIT as TFDS writes it (train[:80%], train+test)
    tfds:celeb_a             has attributes instead of a label

The dataset must have been prepared as ArrayRecord under TFDS_DATA_DIR (default ~/tensorflow_datasets). It is read from
its files only, as `tfds.data_source` does if a dataset's generating code is missing: nothing is downloaded or imported.
The only importer of tensorflow_datasets.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import one_line, shown
from adaptface_jax.data.attributes import chosen_attributes
from adaptface_jax.data.image_files import entries_of, skipped_beside
from adaptface_jax.data.record import NO_CLASS, Record, Source
from adaptface_jax.data.skipped_files import BESIDE_RECORDS, SkippedFiles
from adaptface_jax.data.sources.part_words import parts_called
from adaptface_jax.data.sources.relabeled import Relabeled

PREFIX = "tfds:"
ATTRIBUTES = "attributes"

_SPEC = re.compile(r"(?P<name>\w+(/[\w.+-]+)?)(:(?P<version>\d+\.\d+\.\d+))?(:(?P<split>[a-zA-Z_].*))?")
_THREADS = 8
_CHUNK = 256


class TfdsSource(Source):
    """The records of one split in its order; a `Source`. Labels are read once from every record.

    The image is the dataset's only Image feature (or the one named `image` if there are several), kept encoded. The
    label is the feature `label`, or else the only ClassLabel: a ClassLabel, a Text (the person's name) or an integer.
    Classes are the values that occur, in ascending order. A dataset without these, but with a feature `attributes` of
    named booleans (celeb_a), is multi-label. A record's key is `SPLIT/N`, N its index in the split.

    attributes: those to learn, in their order; empty for all, in alphabetical order.
    splits: the names of all the dataset's splits.
    Raises InputError for a dataset that does not exist, is not in ArrayRecord, or has no such features.
    """

    def __init__(self, spec: str, attributes: Sequence[str] = ()):
        import tensorflow_datasets as tfds

        parsed = _SPEC.fullmatch(spec.removeprefix(PREFIX))
        if parsed is None:
            raise InputError(f"data.train: {shown(spec)!r} is not {PREFIX}NAME[/CONFIG][:VERSION][:SPLIT]")
        self._spec = spec
        self._folder = prepared_folder(parsed["name"], parsed["version"])
        _refuse_foreign_features(self._folder)
        try:
            builder = tfds.builder_from_directory(str(self._folder))
            self._split = parsed["split"] or (
                "train" if "train" in builder.info.splits else next(iter(builder.info.splits))
            )
            self.splits = list(builder.info.splits)
            features = builder.info.features
            self._image, self._label = _features(features, tfds.features)
            self._attributes = _attributes(features[self._label], attributes)
            # Only these two are read from each record, and the image stays encoded.
            wanted = {name: features[name] for name in (self._image, self._label)}
            self._parse = functools.partial(
                tfds.features.FeaturesDict(wanted).deserialize_example_np,
                decoders={self._image: tfds.decode.SkipDecoding()},
            )
            self._records = builder.as_data_source(
                split=self._split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
            )
            known = getattr(features[self._label], "names", None)
            raw = self._raw_labels()
        except InputError as error:
            raise InputError(f"{shown(spec)}: {error}") from None
        except Exception as error:  # TFDS raises anything, with messages of many lines
            raise InputError(
                f"{shown(spec)}: cannot be read from {shown(str(self._folder))} ({one_line(error)}); "
                f"expected a dataset prepared with: {_prepare(parsed['name'])}"
            ) from None
        if self._attributes:
            labels, names = raw, self._attributes
        else:
            self._values, labels = np.unique(raw, return_inverse=True)
            names = [known[value] if known else str(value) for value in self._values.tolist()]
        place = f"{self._folder.parent.name} {self._folder.name}, split {self._split}, in {shown(str(self._folder))}"
        super().__init__(labels.astype(np.int32), names, f"TFDS {place}")
        self.skipped_files = self._beside(builder.info)

    def __getitem__(self, index: int) -> Record:
        index = range(len(self))[index]
        image, label = self._read(index)
        if label != (self.labels[index].tolist() if self.multi_label else self._values[self.labels[index]]):
            raise InputError(f"{self._place(index)}: the label changed while the dataset was read; prepare it again")
        return Record(image, NO_CLASS if self.multi_label else int(self.labels[index]), self.key(index))

    def key(self, index: int) -> str:
        return f"{self._split}/{index}"

    def _beside(self, info: Any) -> SkippedFiles:
        """The files that are not of this split: the shards of others, and those that are not the dataset's."""
        files = {name: {os.path.basename(file) for file in split.filepaths} for name, split in info.splits.items()}
        about = {entry.name for entry in entries_of(str(self._folder)) if entry.name.endswith((".json", ".labels.txt"))}
        skipped = skipped_beside(self._folder, about.union(*files.values()), BESIDE_RECORDS)
        wanted = re.findall(r"[A-Za-z_]\w*", self._split)
        skipped.others.update({_of_split(name): len(found) for name, found in files.items() if name not in wanted})
        return skipped

    def _raw_labels(self) -> np.ndarray:
        count = len(self._records)
        if not count:
            raise InputError(f"the split {self._split} is empty")
        with ThreadPoolExecutor(_THREADS) as pool:
            chunks = [range(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]
            found = pool.map(lambda chunk: [self._read(index)[1] for index in chunk], chunks)
            return np.array([label for labels in found for label in labels])

    def _read(self, index: int) -> tuple[bytes, int | str | list[int]]:
        """The encoded image and the label as stored, or 0 or 1 for each attribute."""
        try:
            record = self._parse(self._records[index])
            image, label = record[self._image], record[self._label]
            if self._attributes:
                return image, [int(label[name]) for name in self._attributes]
        except Exception as error:  # as above
            raise InputError(f"{self._place(index)}: cannot be read ({one_line(error)})") from None
        if isinstance(label, bytes):
            label = label.decode("utf-8", "surrogateescape")
        if not isinstance(image, bytes) or (not isinstance(label, str) and (label != int(label) or label < 0)):
            raise InputError(f"{self._place(index)}: expected an encoded image with a non-negative label")
        return image, label if isinstance(label, str) else int(label)

    def _place(self, index: int) -> str:
        return f"{shown(str(self._folder))}: {self._split} record {index}"


def open_tfds_parts(spec: str, attributes: Sequence[str] = ()) -> dict[str, Source]:
    """The existing splits train, validation and test of `tfds:NAME[/CONFIG][:VERSION]`, with train's classes."""
    parsed = _SPEC.fullmatch(spec.removeprefix(PREFIX))
    if parsed is None or parsed["split"]:
        raise InputError(f"data.path: {shown(spec)!r} is not {PREFIX}NAME[/CONFIG][:VERSION]; name no split")
    train = TfdsSource(f"{spec}:train", attributes)
    found: dict[str, Source] = {"train": train}
    for part, split in parts_called(train.splits, spec).items():
        if part != "train":
            train.skipped_files.others.pop(_of_split(split), None)
            source = TfdsSource(f"{spec}:{split}", attributes)
            source.skipped_files = train.skipped_files
            found[part] = source if source.multi_label else Relabeled(source, train.class_names)
    return found


def _of_split(name: str) -> str:
    """Why the shards of a split are skipped."""
    return f"of the split {name}"


def data_dir() -> Path:
    """Where prepared datasets are: TFDS_DATA_DIR, or else TFDS's default."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def prepared_folder(name: str, version: str | None) -> Path:
    """The folder of one version (default: the newest) of `NAME[/CONFIG]`; raises InputError if there is none."""
    parent = data_dir() / name
    versions = {
        tuple(int(part) for part in path.name.split(".")): path
        for path in (parent.iterdir() if parent.is_dir() else [])
        if re.fullmatch(r"\d+\.\d+\.\d+", path.name) and (path / "dataset_info.json").is_file()
    }
    wanted = tuple(int(part) for part in version.split(".")) if version else max(versions, default=None)
    if wanted not in versions:
        inside = sorted(path.parent.parent.name for path in parent.glob("*/*/dataset_info.json"))
        if inside and not versions:
            raise InputError(
                f"{PREFIX}{name}: which configuration? write {PREFIX}{name}/{inside[0]} (of {', '.join(inside)})"
            )
        wanted_text = f"version {version}" if version else "prepared dataset"
        there = f" (found: {', '.join(path.name for path in versions.values())})" if versions else ""
        raise InputError(
            f"{PREFIX}{name}: no {wanted_text} in {shown(str(parent))}{there}; "
            f"prepare it, with TensorFlow and network access, by: {_prepare(name)}; TFDS_DATA_DIR sets its data_dir"
        )
    return versions[wanted]


def _prepare(name: str) -> str:
    return f"tfds build {name} --file_format=array_record --data_dir={shown(str(data_dir()))}"


def _refuse_foreign_features(folder: Path) -> None:
    """TFDS imports whatever module `features.json` names: only its own are allowed."""
    path = folder / "features.json"

    def check(node: Any) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                names_code = key in ("pythonClassName", "type") and isinstance(value, str)
                if names_code and not re.fullmatch(r"tensorflow_datasets\.core\.features\.[\w.]+", value):
                    raise InputError(f"{shown(str(path))}: names the code {value[:80]!r}; expected TFDS's features")
                check(value)
        elif isinstance(node, list):
            for value in node:
                check(value)

    try:
        check(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{shown(str(path))}: cannot be read ({one_line(error)}); prepare the dataset again") from None


def _features(features: Any, kinds: Any) -> tuple[str, str]:
    """The names of the image and of the label feature."""
    images = [name for name, kind in features.items() if isinstance(kind, kinds.Image)]
    classes = [name for name, kind in features.items() if isinstance(kind, kinds.ClassLabel)]
    image = "image" if "image" in images else images[0] if len(images) == 1 else None
    label = "label" if "label" in features else classes[0] if len(classes) == 1 else None
    if label is None and ATTRIBUTES in features and isinstance(features[ATTRIBUTES], kinds.FeaturesDict):
        label = ATTRIBUTES
    if image is None or label is None:
        missing = "one image" if image is None else "a feature `label` or one class label"
        raise InputError(f"expected {missing} among its features, found {', '.join(sorted(features))}")
    kind = features[label]
    if isinstance(kind, kinds.FeaturesDict):
        if not all(part.np_dtype == np.bool_ and not part.shape for part in kind.values()):
            raise InputError(f"its feature `{label}` holds more than booleans")
        return image, label
    whole = isinstance(kind, (kinds.ClassLabel, kinds.Text)) or (
        not kind.shape and np.issubdtype(kind.np_dtype, np.integer)
    )
    if not whole:
        raise InputError(f"its feature `{label}` is not a class, text or integer")
    return image, label


def _attributes(feature: Any, chosen: Sequence[str]) -> list[str]:
    """The attributes to learn; none for a dataset with a label."""
    known = sorted(feature) if hasattr(feature, "keys") else []
    if chosen and not known:
        raise InputError("data.attributes: the dataset has classes, not attributes; leave them empty")
    return [known[place] for place in chosen_attributes(chosen, known, "the dataset")]
