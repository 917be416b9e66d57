"""Image datasets in Parquet files, as hosted on the Hugging Face hub.

    data/train-00000-of-00002.parquet, data/validation-... (val-, valid-), data/test-...     or without data/

Columns: `image`, a struct with `bytes` (the encoded file) or the bytes themselves, and `label`, an integer. Class names
are in the schema's metadata (key `huggingface`), as written by the library `datasets`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import one_line, shown
from adaptface_jax.data.image_files import skipped_beside
from adaptface_jax.data.record import Record, Source
from adaptface_jax.data.skipped_files import BESIDE_RECORDS
from adaptface_jax.data.sources.part_words import WORDS, parts_called

# Encoded images that are held in memory, over all parts. Tiny-ImageNet has 0.2 GiB.
MAX_HELD = 4 << 30

_FILE = re.compile(rf"({'|'.join(word for words in WORDS.values() for word in words)})(?![a-zA-Z]).*\.parquet")
_SHARD = re.compile(r"-(\d+)-of-(\d+)")
_EXPECTED = "image (a struct with binary `bytes`, or binary) and label (an integer)"


def has_parquet(folder: Path) -> bool:
    """Whether the folder or its data/ holds Parquet files."""
    return bool(_files(folder))


def open_parquet(folder: Path) -> dict[str, Source]:
    """Every part that has files, with the classes of all parts.

    Raises InputError for another schema, a corrupted file, a missing shard, a label out of range and over MAX_HELD.
    """
    files = _files(folder)
    of_word: dict[str, list[Path]] = {}
    for path in files:
        if match := _FILE.fullmatch(path.name):
            of_word.setdefault(match[1], []).append(path)
    called = parts_called(of_word, str(files[0].parent))
    if "train" not in called:
        raise InputError(f"{shown(str(files[0].parent))}: Parquet files, but no train-*.parquet; expected at least one")
    parts: dict[str, list[_Shard]] = {}
    held = 0
    for part, word in called.items():
        parts[part] = []
        for path in _whole(of_word[word]):
            parts[part].append(_Shard(path, folder, held))
            held += parts[part][-1].size
    shards = [shard for part in parts.values() for shard in part]
    names = shards[0].names
    for shard in shards:
        if shard.names != names:
            raise InputError(f"{shown(str(shard.path))}: has different class names from {shown(str(shards[0].path))}")
    if names is None:
        last = max(int(shard.labels.max(initial=-1)) for shard in parts["train"])
        if last >= sum(len(shard.labels) for shard in parts["train"]):
            raise InputError(f"{shown(str(shards[0].path.parent))}: the label {last} exceeds the number of images")
        names = [str(label) for label in range(last + 1)]
    for shard in shards:
        shard.check_labels(len(names))
    found: dict[str, Source] = {part: ParquetSource(of_part, names, folder, part) for part, of_part in parts.items()}
    found["train"].skipped_files = skipped_beside(folder, {shard.name for shard in shards}, BESIDE_RECORDS)
    return found


class ParquetSource(Source):
    """The rows of some files; a `Source`, thread-safe. Encoded images are held in memory, in Arrow's buffers.

    A record's key is `FILE/ROW`.
    """

    def __init__(self, shards: Sequence[_Shard], names: Sequence[str], folder: Path, part: str) -> None:
        import pyarrow as pa

        labels = np.concatenate([shard.labels for shard in shards]).astype(np.int32)
        if not len(labels):
            raise InputError(f"{shown(str(folder))}: its {part} files have no rows; expected images")
        self._images = pa.chunked_array([chunk for shard in shards for chunk in shard.images.chunks])
        self._names = [shard.name for shard in shards]
        self._starts = np.cumsum([0] + [len(shard.labels) for shard in shards])
        super().__init__(labels, names, f"Parquet files in {shown(str(folder))}, {part}")

    def __getitem__(self, index: int) -> Record:
        index = range(len(self))[index]
        image = self._images[index].as_py()
        if image is None:
            raise InputError(f"{self.description}: {self.key(index)} has no image; expected the bytes of one")
        return Record(image, int(self.labels[index]), self.key(index))

    def key(self, index: int) -> str:
        index = range(len(self))[index]
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        return f"{self._names[shard]}/{index - self._starts[shard]}"


class _Shard:
    """One file, fully read, with `held` bytes of images already in memory.

    images: an Arrow ChunkedArray of binary. labels: int64 [N]. names: the classes, if known. size: bytes of images.
    """

    def __init__(self, path: Path, folder: Path, held: int) -> None:
        import pyarrow as pa
        from pyarrow import compute, parquet

        self.path, self.name, self.size = path, path.relative_to(folder).as_posix(), 0
        try:
            with parquet.ParquetFile(path, page_checksum_verification=True) as file:
                column = self._image_column(file.schema_arrow)
                self.names = self._class_names(file.schema_arrow.metadata or {})
                # Group by group halves the peak memory of reading all at once.
                groups = [self._group(file, number, column, held) for number in range(file.num_row_groups)]
            table = pa.concat_tables(groups) if groups else file.schema_arrow.empty_table()
            table.validate(full=True)
        except InputError:
            raise
        except Exception as error:  # Arrow's errors, and whatever else its readers raise for a corrupted file
            raise InputError(
                f"{shown(str(path))}: cannot be read ({one_line(error)}); expected a complete Parquet file"
            ) from None
        images = table["image"]
        images = images if column == "image" else compute.struct_field(images, "bytes")
        self.images: Any = images.cast(pa.large_binary())  # another file may use the other width
        if len(images) and self.images.null_count == len(images):
            raise InputError(f"{shown(str(path))}: holds only paths, no image bytes; expected the images in the file")
        labels = table["label"]
        if labels.null_count:
            row = compute.index(labels.is_null(), True).as_py()
            raise InputError(f"{shown(str(path))}: row {row} has no label; expected a class in every row")
        self.labels = labels.to_numpy().astype(np.int64)

    def check_labels(self, classes: int) -> None:
        """Raise InputError for a label that is not a class."""
        wrong = np.flatnonzero((self.labels < 0) | (self.labels >= classes))
        if wrong.size:
            raise InputError(
                f"{shown(str(self.path))}: row {wrong[0]} has the label {self.labels[wrong[0]]}; "
                f"expected 0 to {classes - 1} (remove the file if it is unlabeled)"
            )

    def _image_column(self, schema: Any) -> str:
        """The column to read; raises InputError for another schema."""
        from pyarrow import types

        kinds = dict(zip(schema.names, schema.types, strict=True))
        image, label = kinds.get("image"), kinds.get("label")
        column = "image"
        if image is not None and types.is_struct(image) and image.get_field_index("bytes") >= 0:
            column, image = "image.bytes", image.field("bytes").type
        binary = image is not None and (types.is_binary(image) or types.is_large_binary(image))
        if not binary or label is None or not types.is_integer(label):
            found = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
            raise InputError(f"{shown(str(self.path))}: has the columns {shown(found)}; expected {_EXPECTED}")
        return column

    def _class_names(self, metadata: dict[bytes, bytes]) -> list[str] | None:
        if b"huggingface" not in metadata:
            return None
        try:
            names = json.loads(metadata[b"huggingface"])["info"]["features"]["label"].get("names")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            names = ()
        if names is None:
            return None
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise InputError(
                f"{shown(str(self.path))}: its `huggingface` metadata is malformed; expected the names of `label` there"
            )
        return names

    def _group(self, file: Any, number: int, column: str, held: int) -> Any:
        """The table of a row group; raises InputError if its images exceed MAX_HELD."""
        # The size over all columns: querying a single one may crash the process if the file is corrupted.
        if held + self.size + file.metadata.row_group(number).total_byte_size > MAX_HELD:
            raise InputError(
                f"{shown(str(self.path))}: exceeds the {MAX_HELD >> 20} MiB of images that are held in memory; "
                "write larger datasets as one folder per class"
            )
        table = file.read_row_group(number, columns=[column, "label"], use_threads=False)
        self.size += table.nbytes  # exceeds the total above if images are repeated
        return table


def _files(folder: Path) -> list[Path]:
    return next((found for place in (folder, folder / "data") if (found := sorted(place.glob("*.parquet")))), [])


def _whole(files: list[Path]) -> list[Path]:
    """The files of one part; raises InputError if their names show that some are missing or duplicate."""
    marks = [_SHARD.search(path.name) for path in files]
    numbers = [(int(mark[1]), int(mark[2])) for mark in marks if mark]
    if numbers and sorted(numbers) != [(number, len(files)) for number in range(len(files))]:
        names = ", ".join(path.name for path in files[:3]) + (" ..." if len(files) > 3 else "")
        raise InputError(
            f"{shown(str(files[0].parent))}: {shown(names)}: shards missing or duplicate; expected as the names say"
        )
    return files
