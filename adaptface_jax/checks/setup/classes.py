"""The identities of a training set: how many, how balanced, and whether a loss can use the labels."""

from __future__ import annotations

import numpy as np

from adaptface_jax.checks.finding import Finding, fault, note, ok, share, warning
from adaptface_jax.checks.setup.scan import Scan
from adaptface_jax.data.record import Source


def balance(source: Source) -> Finding:
    """Images per identity; training on one identity with most of the images teaches little else."""
    classes = source.num_classes
    counts = np.bincount(source.labels[source.labels >= 0], minlength=classes)
    each = f"{counts.min()} to {counts.max()} images each, median {np.median(counts):g}"
    what = f"{classes:,} identities, " + (f"{counts[0]} images each" if counts.min() == counts.max() else each)
    numbers = {"identities": classes, "min": counts.min(), "median": np.median(counts), "max": counts.max()}
    largest = counts.max() / max(1, counts.sum())
    if largest > 0.5 + 0.5 / classes:
        return fault(
            "class balance",
            f"{what}: identity {counts.argmax()} has {100 * largest:.0f}% of all images",
            "are several people in one folder or under one label? Limit it with data.max_per_identity",
            **numbers,
        )
    if largest > max(0.1, 3 / classes):
        return warning(
            "class balance",
            f"{what}: identity {counts.argmax()} has {100 * largest:.0f}% of all images",
            "it dominates the batches; limit it with data.max_per_identity",
            **numbers,
        )
    return ok("class balance", what, **numbers)


def few(source: Source) -> Finding | None:
    """Identities without images, and with a single image."""
    counts = np.bincount(source.labels[source.labels >= 0], minlength=source.num_classes)
    empty, single = int((counts == 0).sum()), int((counts == 1).sum())
    if empty:
        return warning(
            "empty identities",
            f"{share(empty, len(counts))} identities have no image",
            "their class centers are only pushed away; renumber the labels",
        )
    if single:
        says = warning if single > 0.5 * len(counts) else note
        return says(
            "single images",
            f"{share(single, len(counts))} identities have one image",
            "they teach nothing about how one person varies",
        )
    return None


def label_range(source: Source, scan: Scan) -> Finding:
    """Whether labels are 0..C-1, and whether each record agrees with the index."""
    labels, classes = source.labels, source.num_classes
    if len(labels) and (labels.min() < 0 or labels.max() >= classes):
        return fault(
            "labels",
            f"run from {labels.min()} to {labels.max()}; {classes:,} identities need 0 to {classes - 1}",
            "a label outside the classes has no target in the loss: renumber them",
        )
    wrong = scan.good & (scan.label != labels[scan.numbers])
    if wrong.any():
        number = int(scan.numbers[wrong][0])
        return fault(
            "labels",
            f"{share(int(wrong.sum()), len(wrong))} records have a label different from the index, "
            f"e.g. {source[number].key}",
            "the index belongs to a different file: pack the set again",
        )
    return ok("labels", f"0 to {classes - 1}, matching the records")
