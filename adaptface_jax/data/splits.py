"""The three parts of a dataset in a classification study: as published, or split off its training part."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import train_test_split

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import one_line, plural, shown
from adaptface_jax.data.record import Source
from adaptface_jax.data.sources.parts import open_parts
from adaptface_jax.data.sources.selection import Selection


@dataclasses.dataclass(frozen=True)
class Splits:
    """Sources with the same class names and the same kind of labels. Each description says where it comes from."""

    train: Source
    validation: Source
    test: Source


def open_splits(path: str, attributes: Sequence[str] = (), test_fraction: float = 0.1, split_seed: int = 42) -> Splits:
    """Opens a dataset (`sources.parts.open_parts` lists the formats) and completes it.

    A validation or test part that the dataset lacks is split off its training part, stratified by class, with
    scikit-learn's `train_test_split(test_size=test_fraction, stratify=labels, random_state=split_seed)`; if both are
    missing, first the test part and then, by the same call, a validation part with the same number of images.

    The description of a part names a class (or attribute) that never occurs in it.
    Raises InputError if there are fewer than two classes, and if a class is too small to be split.
    """
    parts = open_parts(path, attributes)
    train = parts["train"]
    if not train.multi_label and train.num_classes < 2:
        raise InputError(f"data.path: {train.description}: {train.num_classes} class; training needs at least 2")
    parts = _completed(parts, test_fraction, split_seed)
    return Splits(**{part: _with_absent(source) for part, source in parts.items()})


def _completed(parts: dict[str, Source], fraction: float, seed: int) -> dict[str, Source]:
    missing = [part for part in ("test", "validation") if part not in parts]
    if not missing:
        return parts
    train = parts["train"]
    if train.multi_label:
        raise InputError(f"{train.description}: has no {missing[0]} part, and attributes cannot be stratified")
    if not 0 < fraction < 1:
        raise InputError(f"data.test_fraction: {fraction} is out of range; expected more than 0 and less than 1")
    rest, taken = np.arange(len(train)), dict[str, np.ndarray]()
    for part in missing:
        size = len(next(iter(taken.values()))) if taken else fraction
        try:
            rest, taken[part] = train_test_split(rest, test_size=size, stratify=train.labels[rest], random_state=seed)
        except ValueError as error:
            raise InputError(f"{train.description}: {_too_small(train, rest, part, error)}") from None

    def chosen(indices: np.ndarray) -> Source:
        share = f"{100 * len(indices) / len(train):.4g}%"
        return Selection(train, indices, f"{share} of train, stratified, seed {seed}")

    return parts | {"train": chosen(rest)} | {part: chosen(indices) for part, indices in taken.items()}


def _too_small(train: Source, rest: np.ndarray, part: str, error: ValueError) -> str:
    """Why scikit-learn refused, and what to do."""
    counts = np.bincount(train.labels[rest], minlength=train.num_classes)
    smallest = int(np.where(counts, counts, len(rest) + 1).argmin())
    name, count = shown(train.class_names[smallest]), plural(int(counts[smallest]), "image")
    return (
        f"no {part} part with {np.count_nonzero(counts)} classes can be split off ({one_line(error).rstrip('.')}); "
        f"the class {name!r} has {count}: give the dataset a {part} part, more images, or another data.test_fraction"
    )


def _with_absent(source: Source) -> Source:
    """The source, with the classes that it has no example of in its description."""
    counts = source.labels.sum(0) if source.multi_label else np.bincount(source.labels, minlength=source.num_classes)
    absent = np.flatnonzero(counts == 0)
    if not absent.size:
        return source
    first = shown(source.class_names[absent[0]])
    what = f"no image of {first!r}" + (f" and {absent.size - 1} more" if absent.size > 1 else "")
    return Selection(source, np.arange(len(source)), what)
