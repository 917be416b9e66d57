"""From what the user wrote as `data.train` to a source."""

from __future__ import annotations

import collections
from pathlib import Path

from adaptface_jax.config.schema import DataConfig
from adaptface_jax.core.errors import InputError
from adaptface_jax.data.image_files import images_below
from adaptface_jax.data.passed_over import PassedOver
from adaptface_jax.data.record import Source
from adaptface_jax.data.sources.array_record import DESCRIPTION, UNFINISHED, ArrayRecordSource
from adaptface_jax.data.sources.excluded import Excluded
from adaptface_jax.data.sources.folders import FolderSource
from adaptface_jax.data.sources.insightface import InsightFaceSource
from adaptface_jax.data.sources.labelled import give_labels, labels_beside
from adaptface_jax.data.sources.subset import Subset
from adaptface_jax.data.sources.synthetic import PREFIX as SYNTHETIC
from adaptface_jax.data.sources.synthetic import open_synthetic
from adaptface_jax.data.sources.tfds import PREFIX as TFDS
from adaptface_jax.data.sources.tfds import TfdsSource


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

    path: a folder with `train.rec` (InsightFace records), else with ArrayRecord shards (as `pack` writes them), else
    with identity folders; or `tfds:NAME`, or `synthetic:SPEC`.
    labels, domains: as in `give_labels`, of the whole set. exclude: pairs whose people are left out, as in `Excluded`.
    Raises InputError where nothing is, where it cannot be read, and where fewer than two identities remain.
    """
    for name, limit in (("max_identities", max_identities), ("max_per_identity", max_per_identity)):
        if limit is not None and limit < 1:
            raise InputError(f"data.{name}: {limit} leaves no image; expected a positive count or none")
    source = open_form(path)
    if source.multi_label:
        raise InputError(f"data.train: {source.description}: has attributes; expected a set of identities")
    give_labels(source, labels_beside(path), labels, domains)
    if exclude:
        source = Excluded(source, exclude)
    if max_identities is not None or max_per_identity is not None:
        source = Subset(source, max_identities, max_per_identity)
    if source.num_classes < 2:
        raise InputError(f"data.train: {source.description}: {source.num_classes} identity; training needs at least 2")
    return source


def open_form(path: str) -> Source:
    """The set at a path, by what stands there, whatever its classes; raises InputError where nothing does."""
    if path.startswith(SYNTHETIC):
        return open_synthetic(path.removeprefix(SYNTHETIC))
    if path.startswith(TFDS):
        return TfdsSource(path)
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(
            f"data.train: {path!r} is no folder; expected a folder with train.rec, shards or identity folders, "
            f"or {TFDS}NAME or {SYNTHETIC}SPEC"
        )
    if not is_packed(folder):
        return FolderSource(folder)
    source = InsightFaceSource(folder) if _has_records(folder) else ArrayRecordSource(folder)
    beside = sum(1 for _ in images_below(folder, PassedOver()))
    source.passed_over = PassedOver(collections.Counter({"in files of their own beside the records": beside}))
    return source


def is_packed(folder: Path) -> bool:
    """Whether the images of a set lie in few large files, not in files of their own."""
    return _has_records(folder) or _has_shards(folder)


def _has_records(folder: Path) -> bool:
    # Either file is enough: half of a set is better named so than as a folder without identities.
    return (folder / "train.rec").exists() or (folder / "train.idx").exists()


def _has_shards(folder: Path) -> bool:
    return any((folder / name).exists() for name in (DESCRIPTION, UNFINISHED)) or any(folder.glob("*.array_record"))
