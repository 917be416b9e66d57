"""From what the user wrote as `data.path` to the parts of a classification set, as it was published."""

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
    """`train` and, where the set has them, `validation` and `test`; all with the same classes or attributes.

    path: a folder with CelebA's lists, else with Tiny-ImageNet's, else with Parquet files, else with folders of
    classes; or `tfds:NAME`.
    attributes: of a multi-label set those to learn, in their order; empty for all.
    Raises InputError if the path is nothing of these, for attributes of a set of classes, and what each form raises.
    """
    if path.startswith(TFDS):
        return open_tfds_parts(path, attributes)
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(f"data.path: {shown(path)!r} is no folder; expected one with a set of images, or {TFDS}NAME")
    if is_celeba(folder):
        return open_celeba(folder, attributes)
    if attributes:
        raise InputError(
            f"data.attributes: {shown(path)} is no set with attributes (it holds no {ATTRIBUTES}.txt); leave them "
            "empty to learn classes"
        )
    for is_form, open_form in (
        (is_tiny_imagenet, open_tiny_imagenet),
        (has_parquet, open_parquet),
        (has_class_folders, open_class_folders),
    ):
        if is_form(folder):
            return open_form(folder)
    raise InputError(
        f"data.path: {shown(path)} holds no set of images; expected {ATTRIBUTES}.txt (CelebA), {CLASSES} "
        "(Tiny-ImageNet), train-*.parquet, or a folder per class"
    )
