# SPDX-License-Identifier: Apache-2.0
"""From the setting `data.path` to the published parts of a classification dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown
from adaptface_jax.data.image_files import MOST_FOLDERS
from adaptface_jax.data.record import Source
from adaptface_jax.data.sources.celeba import ATTRIBUTES, is_celeba, open_celeba
from adaptface_jax.data.sources.class_folders import has_class_folders, has_train, open_class_folders
from adaptface_jax.data.sources.folders import holds_identities, identity_names
from adaptface_jax.data.sources.parquet import has_parquet, open_parquet
from adaptface_jax.data.sources.tfds import PREFIX as TFDS
from adaptface_jax.data.sources.tfds import open_tfds_parts
from adaptface_jax.data.sources.tiny_imagenet import CLASSES, is_tiny_imagenet, open_tiny_imagenet
from adaptface_jax.data.sources.unread import UNPACK, advice


def open_parts(path: str, attributes: Sequence[str] = ()) -> dict[str, Source]:
    """`train` and, if the dataset has them, `validation` and `test`; all with the same classes or attributes.

    path: a folder with CelebA's lists, else with Tiny-ImageNet's, else with Parquet files, else with class folders; or
    `tfds:NAME`.
    attributes: those of a multi-label dataset to learn, in their order; empty for all.
    Raises InputError if the path is none of these, for attributes of a dataset of classes, and as each format does.
    """
    if path.startswith(TFDS):
        return open_tfds_parts(path, attributes)
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise InputError(
            f"data.path: {shown(path)!r} is not a folder; expected one with a dataset of images, or {TFDS}NAME"
            f"{_unpacking(folder)}"
        )
    if is_celeba(folder):
        return open_celeba(folder, attributes)
    if attributes:
        raise InputError(
            f"data.attributes: {shown(path)} is not a dataset with attributes (it has no {ATTRIBUTES}.txt); leave "
            "them empty to learn classes"
        )
    for is_form, open_form in ((is_tiny_imagenet, open_tiny_imagenet), (has_parquet, open_parquet)):
        if is_form(folder):
            return open_form(folder)
    if inner := _further_in(folder):
        raise InputError(
            f"data.path: {shown(path)} holds no dataset of images, but its {shown(inner.name)}/ does; expected "
            f"data.path={shown(str(inner))}"
        )
    if has_class_folders(folder):
        return open_class_folders(folder)
    raise InputError(
        f"data.path: {shown(path)} holds no dataset of images; expected {ATTRIBUTES}.txt (CelebA), {CLASSES} "
        f"(Tiny-ImageNet), train-*.parquet, or one folder per class{_unpacking(folder)}"
    )


def _unpacking(folder: Path) -> str:
    """What to do with archives, to follow an error; what else `advice` says is about faces."""
    what = advice(folder) if folder.exists() else ""
    return f"; {what}" if UNPACK in what else ""


def _further_in(folder: Path) -> Path | None:
    """The folder one level down that holds a dataset, if this one does not; None if several do, or none."""
    if has_train(folder):
        return None
    names = identity_names(folder)
    if len(names) == 1 and holds_identities(folder / names[0], 2):
        return folder / names[0]
    forms = (is_celeba, is_tiny_imagenet, has_parquet, has_train)
    held = [folder / name for name in names[:MOST_FOLDERS] if any(is_form(folder / name) for is_form in forms)]
    return held[0] if len(held) == 1 else None
