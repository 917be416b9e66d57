"""From what the user wrote (`data.train`, `--benchmark NAME=PATH`) to a source or a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.benchmarks.bins import open_bin
from adaptface_jax.data.benchmarks.cfp import PROTOCOLS as CFP_PROTOCOLS
from adaptface_jax.data.benchmarks.cfp import open_cfp
from adaptface_jax.data.benchmarks.lfw import PAIRS as LFW_PAIRS
from adaptface_jax.data.benchmarks.lfw import open_lfw
from adaptface_jax.data.benchmarks.pair_csv import PAIRS as CSV_PAIRS
from adaptface_jax.data.benchmarks.pair_csv import open_pair_csv
from adaptface_jax.data.record import Record, Source
from adaptface_jax.data.sources.array_record import DESCRIPTION, UNFINISHED, ArrayRecordSource
from adaptface_jax.data.sources.folders import FolderSource
from adaptface_jax.data.sources.insightface import InsightFaceSource
from adaptface_jax.data.sources.synthetic import open_synthetic, open_synthetic_benchmark
from adaptface_jax.data.sources.tfds import PREFIX as TFDS
from adaptface_jax.data.sources.tfds import TfdsSource

_SYNTHETIC = "synthetic:"


def open_source(path: str, max_identities: int | None = None, max_per_identity: int | None = None) -> Source:
    """Opens a training set, or its first identities (ascending label) and the first images of each.

    path: a folder with `train.rec` (InsightFace records), else with ArrayRecord shards (as `pack` writes them), else
    with identity folders; or `tfds:NAME`, or `synthetic:SPEC`.
    Raises InputError where nothing is, where it cannot be read, and where fewer than two identities remain.
    """
    for name, limit in (("max_identities", max_identities), ("max_per_identity", max_per_identity)):
        if limit is not None and limit < 1:
            raise InputError(f"data.{name}: {limit} leaves no image; expected a positive count or none")
    source = _open(path)
    if max_identities is not None or max_per_identity is not None:
        source = Subset(source, max_identities, max_per_identity)
    if source.num_classes < 2:
        raise InputError(f"data.train: {source.description}: {source.num_classes} identity; training needs at least 2")
    return source


def _open(path: str) -> Source:
    if path.startswith(_SYNTHETIC):
        return open_synthetic(path.removeprefix(_SYNTHETIC))
    if path.startswith(TFDS):
        return TfdsSource(path)
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(
            f"data.train: {path!r} is no folder; expected a folder with train.rec, shards or identity folders, "
            f"or {TFDS}NAME or {_SYNTHETIC}SPEC"
        )
    # Either file is enough: half of a set is better named so than as a folder without identities.
    packed = (folder / "train.rec").exists() or (folder / "train.idx").exists()
    if packed:
        return InsightFaceSource(folder)
    if any((folder / name).exists() for name in (DESCRIPTION, UNFINISHED)) or any(folder.glob("*.array_record")):
        return ArrayRecordSource(folder)
    return FolderSource(folder)


def open_benchmark(path: str) -> Benchmark:
    """Opens a verification benchmark.

    path: an InsightFace `.bin` pack; a folder with `pairs.txt` (LFW's form), with `pairs.csv`, or with CFP's
    `Protocol` (FOLDER:FF for frontal against frontal); FOLDER:LIST, a list of either form over a folder, itself within
    the folder or anywhere; a `.csv` list whose paths are relative to where it is; or `synthetic:SPEC`.
    Raises InputError where nothing is or where it is not what its name says.
    """
    if path.startswith(_SYNTHETIC):
        return open_synthetic_benchmark(path.removeprefix(_SYNTHETIC))
    file = Path(path)
    if file.is_file() and file.suffix == ".bin":
        return open_bin(file)
    if file.is_file() and file.suffix == ".csv":
        return open_pair_csv(file.parent, file)
    folder, listed = file, ""
    if not file.exists() and ":" in path:
        before, _, listed = path.rpartition(":")
        folder = Path(before)
    if folder.is_dir():
        return _open_listed(folder, listed)
    found = "is no .bin, .csv or folder" if file.exists() else "does not exist"
    raise InputError(f"benchmark: {path!r} {found}; expected {_BENCHMARKS}")


_BENCHMARKS = (
    "an InsightFace .bin pack, a folder with pairs.txt, pairs.csv or CFP's Protocol, FOLDER:LIST, a .csv, or "
    f"{_SYNTHETIC}SPEC"
)


def _open_listed(folder: Path, listed: str) -> Benchmark:
    """The pairs of the list that is named, or else found, over the images of a folder."""
    if (folder / "Protocol").is_dir() and listed in ("", *CFP_PROTOCOLS):
        return open_cfp(folder, listed or CFP_PROTOCOLS[0])
    if listed:
        places = [folder / listed, Path(listed)]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise InputError(f"benchmark: {shown(str(places[0]))} does not exist; expected a list of pairs")
    else:
        both = [name for name in (LFW_PAIRS, CSV_PAIRS) if (folder / name).is_file()]
        if len(both) != 1:
            problem = "holds two lists of pairs; choose one as FOLDER:LIST" if both else "holds no list of pairs"
            raise InputError(f"benchmark: {shown(str(folder))} {problem}; expected {_BENCHMARKS}")
        found = folder / both[0]
    return open_pair_csv(folder, found) if found.suffix == ".csv" else open_lfw(folder, found)


class Subset:
    """The first identities of a source and the first images of each, in the source's order; a `Source`."""

    def __init__(self, source: Source, max_identities: int | None, max_per_identity: int | None):
        labels = source.labels
        keep = np.ones(len(labels), bool)
        if max_identities is not None:
            keep &= labels < max_identities
        if max_per_identity is not None:
            keep &= _rank_within(labels) < max_per_identity
        self._source = source
        self._indices = np.flatnonzero(keep)
        self._labels = labels[self._indices]
        self._num_classes = min(source.num_classes, max_identities or source.num_classes)
        limits = (("identities", max_identities), ("images of each", max_per_identity))
        kept = ", ".join(f"first {limit} {what}" for what, limit in limits if limit is not None)
        self._description = f"{source.description} ({kept})"

    @property
    def num_classes(self) -> int:
        return self._num_classes

    @property
    def class_names(self) -> Sequence[str]:
        return self._source.class_names[: self._num_classes]

    @property
    def labels(self) -> np.ndarray:
        return self._labels

    @property
    def description(self) -> str:
        return self._description

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Record:
        return self._source[int(self._indices[index])]

    def key(self, index: int) -> str:
        return self._source.key(int(self._indices[index]))


def _rank_within(labels: np.ndarray) -> np.ndarray:
    """How many records of the same label come before each record."""
    order = np.argsort(labels, kind="stable")
    first = np.searchsorted(labels[order], labels[order])
    rank = np.empty_like(order)
    rank[order] = np.arange(len(labels)) - first
    return rank
