# SPDX-License-Identifier: Apache-2.0
"""From the setting `data.train` to a source."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from adaptface_jax.config.schema import DataConfig
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown
from adaptface_jax.data.image_files import entries_of, is_dir
from adaptface_jax.data.record import Source
from adaptface_jax.data.sources.array_record import DESCRIPTION, UNFINISHED, ArrayRecordSource
from adaptface_jax.data.sources.excluded import Excluded
from adaptface_jax.data.sources.folders import FolderSource, holds_identities
from adaptface_jax.data.sources.insightface import InsightFaceSource
from adaptface_jax.data.sources.labeled import give_labels, labels_beside
from adaptface_jax.data.sources.subset import Subset
from adaptface_jax.data.sources.synthetic import PREFIX as SYNTHETIC
from adaptface_jax.data.sources.synthetic import open_synthetic
from adaptface_jax.data.sources.tfds import PREFIX as TFDS
from adaptface_jax.data.sources.tfds import TfdsSource
from adaptface_jax.data.sources.training_list import ENDINGS, open_training_list
from adaptface_jax.data.sources.unread import advice
from adaptface_jax.data.sources.web_dataset import WebDatasetSource, is_web_dataset, tars_in


def open_training(data: DataConfig) -> Source:
    """The training set of a run; raises InputError as `open_source` does."""
    return open_source(data.train, data.max_identities, data.max_per_identity, data.labels, data.domains, data.exclude)


def open_source(
    path: str,
    max_identities: int | None = None,
    max_per_identity: int | None = None,
    labels: str = "",
    domains: str = "",
    exclude: str = "",
) -> Source:
    """Opens a training set, or its first identities (ascending label) and the first images of each.

    path: a folder with `train.rec` or one other `.rec` (InsightFace records), else with ArrayRecord shards (as `pack`
    writes them), else with identity folders or WebDataset tars; a `.rec` or `.tar` file; a list of images and labels
    (`open_training_list`); or `tfds:NAME`, or `synthetic:SPEC`.
    labels, domains: as in `give_labels`, for the full dataset. exclude: pairs whose people are excluded.
    Raises InputError if there is nothing there, if it cannot be read, and if fewer than two identities remain.
    """
    for name, limit in (("max_identities", max_identities), ("max_per_identity", max_per_identity)):
        if limit is not None and limit < 1:
            raise InputError(f"data.{name}: {limit} leaves no image; expected a positive count or none")
    path = os.path.expanduser(path)
    source = open_form(path)
    if source.multi_label:
        raise InputError(f"data.train: {source.description}: has attributes; expected a dataset of identities")
    give_labels(source, labels_beside(path), labels, domains)
    if exclude:
        source = Excluded(source, exclude)
    if max_identities is not None or max_per_identity is not None:
        source = Subset(source, max_identities, max_per_identity)
    if source.num_classes < 2:
        more = advice(Path(path)) if os.path.isdir(path) else ""
        inner = Path(path) / source.class_names[0]
        if not more and inner.is_dir() and holds_identities(inner):
            more = f"are these people? data.train={shown(str(inner))}"
        raise InputError(
            f"data.train: {source.description}: {source.num_classes} identity; training needs at least 2"
            + (f"; {more}" if more else "")
        )
    return source


# The prefix of a path that is not a file -> the function that opens the full path. A new kind of dataset is a row here.
PREFIXES: dict[str, Callable[[str], Source]] = {SYNTHETIC: open_synthetic, TFDS: TfdsSource}


def open_form(path: str) -> Source:
    """The dataset at a path, by its content, whatever its classes; raises InputError if there is none."""
    for prefix, opened in PREFIXES.items():
        if path.startswith(prefix):
            return opened(path)
    folder = Path(path).expanduser()  # no shell expands the ~ in --config.data.train=~/faces
    if not folder.is_dir():
        return _open_file(folder)
    if not _has_records(folder):
        try:
            return FolderSource(folder)
        except InputError as error:
            if tars := tars_in(folder):
                return WebDatasetSource(folder, tars)
            more = advice(folder)
            raise InputError(f"{error}; {more}" if more else str(error)) from None
    return InsightFaceSource(folder, _records(folder)[0]) if _records(folder) else ArrayRecordSource(folder)


def is_packed(folder: Path) -> bool:
    """Whether the images of a dataset are in a few large files, not in one file each."""
    return _has_records(folder) or bool(tars_in(folder))


def _has_records(folder: Path) -> bool:
    """Whether a folder holds InsightFace records or shards, which take precedence over folders of images."""
    return bool(_records(folder)) or _has_shards(folder)


def _open_file(file: Path) -> Source:
    """A dataset that is named by a file."""
    if file.is_file() and file.suffix in (".rec", ".idx"):
        return InsightFaceSource(file.parent, file.stem)
    if file.suffix == ".tar" and file.is_file() and is_web_dataset(file):
        return WebDatasetSource(file.parent, [file])
    if file.is_file() and file.suffix.lower() in ENDINGS:
        return open_training_list(file)
    more = advice(file) if file.exists() else ""
    raise InputError(
        f"data.train: {str(file)!r} is neither a folder nor a list; expected a folder with a .rec, shards or identity "
        f"folders, a list of images and labels, or {TFDS}NAME or {SYNTHETIC}SPEC" + (f"; {more}" if more else "")
    )


def _records(folder: Path) -> list[str]:
    """The names of the records in a folder, at most one; raises InputError if there are several, none `train`.

    Either of .rec and .idx is enough: that half of the files is missing is clearer than "no identities found".
    """
    files = [entry.name for entry in entries_of(str(folder)) if not is_dir(entry)]
    names = sorted({name[:-4] for name in files if name.endswith((".rec", ".idx")) and not name.startswith(".")})
    if "train" in names:
        return ["train"]
    if len(names) > 1:
        raise InputError(
            f"{shown(str(folder))}: holds {len(names)} record files, {', '.join(map(shown, names[:4]))}; name one, "
            f"e.g. data.train={shown(str(folder / names[0]))}.rec"
        )
    return names


def _has_shards(folder: Path) -> bool:
    return any((folder / name).exists() for name in (DESCRIPTION, UNFINISHED)) or any(folder.glob("*.array_record"))
