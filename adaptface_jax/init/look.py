"""The contents of a folder of people, as far as the proposed commands depend on them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from adaptface_jax.align.benchmark_images import look_at
from adaptface_jax.align.crop import Aligner
from adaptface_jax.checks.finding import Finding, Section, Severity, note, ok, warning
from adaptface_jax.checks.setup.images import readable, sizes
from adaptface_jax.checks.setup.scan import scan_source
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.progress import Phase
from adaptface_jax.core.text import listed, plural, shown
from adaptface_jax.data.labels import LabelTable, read_labels
from adaptface_jax.data.pipeline import STORED_SIZE
from adaptface_jax.data.record import Images, Keys, Source
from adaptface_jax.data.sources.from_path import open_source
from adaptface_jax.data.sources.labeled import labels_beside
from adaptface_jax.data.sources.selection import Selection

SAMPLE = 2000  # images that are read; `doctor` reads all

# What makes an image hard, in the words of `annotate` and of manual labels.
HARD = {
    "pose": ("left", "right"),
    "age": ("child", "old"),
    "light": ("dark", "bad", "uneven"),
    "sharpness": ("blurred",),
}
FEWEST = 10  # images that make a condition


@dataclasses.dataclass(frozen=True)
class People:
    """folder: as typed. source: the dataset without the images found unreadable. unreadable: how many.

    crops: whether faces fill the images. table: the labels next to the images.
    """

    folder: str
    source: Source
    unreadable: int
    crops: Finding
    table: LabelTable | None
    section: Section

    @property
    def photographs(self) -> bool:
        """Whether the faces must be detected and aligned first."""
        return self.crops.severity is Severity.WARNING

    @property
    def counts(self) -> np.ndarray:
        """int [P], the number of images per person."""
        return np.bincount(self.source.labels, minlength=self.source.num_classes)

    @property
    def conditions(self) -> str:
        """Terms for `data.domains` from the hard values that enough images have; "" if there are none."""
        if self.table is None:
            return ""
        terms = []
        for name, hard in HARD.items():
            column = self.table.columns.get(name)
            held = [] if column is None else [value for value in hard if column.holds(value).any()]
            if column is not None and sum(int(column.holds(value).sum()) for value in held) >= FEWEST:
                terms.append(f"{name}={'|'.join(held)}")
        return "; ".join(terms)


def look(folder: str) -> People:
    """Read the folder; raises InputError if its images are not separate files in one folder per person, if none can be
    read, and for whatever reading a label table raises."""
    if not Path(folder).is_dir():
        raise InputError(f"{shown(folder)}: no such folder; expected one with a folder of images per person")
    source = open_source(folder)
    if not (Path(folder) / source.key(0)).is_file():
        raise InputError(f"{source.description}: its images are not separate files; expected one folder per person")
    scan = scan_source(source, SAMPLE, seed=0)
    if not scan.good.any():
        raise InputError(f"none of {plural(len(scan.numbers), 'image')} can be read; the first: {scan.failures[0][1]}")
    beside = labels_beside(folder)
    table = read_labels(Path(beside), Keys(source)) if beside else None
    bad = [number for number, _ in scan.failures]
    good = Selection(source, np.delete(np.arange(len(source)), bad), "those that can be read") if bad else source
    seen = Images(Selection(source, scan.numbers[scan.good], "sampled"))
    with Phase("looking for faces in some images", brief=True):
        crops = look_at(seen, seen.keys)
    found = readable(scan, "images", allowed=len(source))
    findings = (
        counted(good),
        dataclasses.replace(found, advice="they are skipped") if bad else found,
        *(note("", shown(why)) for _, why in scan.failures[1:]),
        sizes(scan, STORED_SIZE),
        crops,
        *([labeled(table)] if table else []),
    )
    return People(folder, good, len(bad), crops, table, Section("people", source.description, findings))


def counted(source: Source) -> Finding:
    """How many people and images, and how many people with a single image."""
    counts = np.bincount(source.labels, minlength=source.num_classes)
    what = f"{source.num_classes:,}, {plural(len(source), 'image')} ({counts.min()} to {counts.max()} each)"
    if single := int((counts < 2).sum()):
        return warning("people", f"{what}; {single:,} with fewer than two", "these form no genuine pairs")
    return ok("people", what)


def labeled(table: LabelTable) -> Finding:
    """The label columns, with their values where these are few."""
    said = []
    for name, column in table.columns.items():
        values = [
            f"{shown(value)} {int(column.holds(value).sum()):,}" for value in column.values if column.holds(value).any()
        ]
        said.append(f"{shown(name)}: {listed(values, 5)}" if 0 < len(values) <= 12 else shown(name))
    return ok("conditions", f"{table.place}: {'; '.join(said)}")


def has_aligner() -> bool:
    """Whether the extra `align` is installed."""
    try:
        Aligner()
    except InputError:
        return False
    return True
