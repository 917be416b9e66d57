# SPDX-License-Identifier: Apache-2.0
"""A folder per class: `DIR/CLASS/*.png`, or `DIR/train/CLASS`, `DIR/val/CLASS` and `DIR/test/CLASS`."""

from __future__ import annotations

from pathlib import Path

from adaptface_jax.core.text import shown
from adaptface_jax.data.image_files import images_below
from adaptface_jax.data.record import Source
from adaptface_jax.data.sources.folders import FolderSource, holds_identities, identity_names, image_names
from adaptface_jax.data.sources.part_words import WORDS, parts_called
from adaptface_jax.data.sources.relabeled import Relabeled


def has_class_folders(folder: Path) -> bool:
    """Whether a subfolder holds images, or is train/."""
    return has_train(folder) or holds_identities(folder)


def has_train(folder: Path) -> bool:
    """Whether a subfolder is the training part."""
    return any(name.casefold() in WORDS["train"] for name in identity_names(folder))


def open_class_folders(folder: Path) -> dict[str, Source]:
    """The existing parts, with the classes of train/; only `train` if the classes are directly in the folder.

    A train/ that directly holds images is a class of that name. Raises InputError as FolderSource does, and for a
    class that train/ lacks.
    """
    words = parts_called(identity_names(folder), str(folder)) if has_train(folder) else {}
    if not words or image_names(folder / words["train"]):
        return {"train": FolderSource(folder, "class")}
    train = FolderSource(folder / words["train"], "class")
    found: dict[str, Source] = {"train": train}
    for name in identity_names(folder, train.skipped_files, "part"):
        if name not in words.values():
            files = len(list(images_below(folder / name, train.skipped_files, folder)))
            train.skipped_files.images[f"in {shown(name)}, not a part of the dataset"] += files
    for part, word in words.items():
        if part != "train":
            found[part] = Relabeled(FolderSource(folder / word, "class"), train.class_names)
    return found
