"""From the setting `data.path` to the published parts of a classification dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown
from adaptface_jax.data.record import Source
from adaptface_jax.data.sources.celeba import ATTRIBUTES, is_celeba, open_celeba
from adaptface_jax.data.sources.class_folders import has_class_folders, open_class_folders
from adaptface_jax.data.sources.parquet import has_parquet, open_parquet
from adaptface_jax.data.sources.tfds import PREFIX as TFDS
from adaptface_jax.data.sources.tfds import open_tfds_parts
from adaptface_jax.data.sources.tiny_imagenet import CLASSES, is_tiny_imagenet, open_tiny_imagenet


def open_parts(path: str, attributes: Sequence[str] = ()) -> dict[str, Source]:
    """`train` and, if the dataset has them, `validation` and `test`; all with the same classes or attributes.

    path: a folder with CelebA's lists, else with Tiny-ImageNet's, else with Parquet files, else with class folders; or
    `tfds:NAME`.
    attributes: those of a multi-label dataset to learn, in their order; empty for all.
    Raises InputError if the path is none of these, for attributes of a dataset of classes, and as each format does.
    """
    if path.startswith(TFDS):
        return open_tfds_parts(path, attributes)
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(
            f"data.path: {shown(path)!r} is not a folder; expected one with a dataset of images, or {TFDS}NAME"
        )
    if is_celeba(folder):
        return open_celeba(folder, attributes)
    if attributes:
        raise InputError(
            f"data.attributes: {shown(path)} is not a dataset with attributes (it has no {ATTRIBUTES}.txt); leave "
            "them empty to learn classes"
        )
    for is_form, open_form in (
        (is_tiny_imagenet, open_tiny_imagenet),
        (has_parquet, open_parquet),
        (has_class_folders, open_class_folders),
    ):
        if is_form(folder):
            return open_form(folder)
    raise InputError(
        f"data.path: {shown(path)} holds no dataset of images; expected {ATTRIBUTES}.txt (CelebA), {CLASSES} "
        "(Tiny-ImageNet), train-*.parquet, or one folder per class"
    )
