"""Any set of images, whether or not somebody could be trained on it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from adaptface_jax.core.text import plural
from adaptface_jax.data.image_files import ImageFiles
from adaptface_jax.data.record import Source
from adaptface_jax.data.sources.folders import identity_names, image_names
from adaptface_jax.data.sources.from_path import is_packed, open_form
from adaptface_jax.data.sources.listed_files import ListedFiles
from adaptface_jax.data.text_array import TextArray


def open_images(path: str) -> Source:
    """What `data.train` takes, or else a folder of images at any depth, as one class.

    Raises InputError where nothing is, or no image.
    """
    folder = Path(path)
    if not folder.is_dir() or is_packed(folder) or any(image_names(folder / name) for name in identity_names(folder)):
        return open_form(path)
    files = TextArray.of(os.path.relpath(file, folder) for file in ImageFiles(folder).paths)
    return ListedFiles(folder, files, np.zeros(len(files), np.int32), (folder.name,), f"images below {folder}")


def passed_over(path: str, source: Source) -> list[str]:
    """A line about the image files below a folder that `source`, opened there, has not; none where it has them all."""
    folder = Path(path)
    if not folder.is_dir() or is_packed(folder):
        return []
    number = len(ImageFiles(folder)) - len(source)
    if not number:
        return []
    return [f"passed over: {plural(number, 'image')} not directly in the folder of an identity, as training does"]
