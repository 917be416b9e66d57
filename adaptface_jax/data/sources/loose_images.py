# SPDX-License-Identifier: Apache-2.0
"""Any set of images, whether or not a model could be trained on it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from adaptface_jax.data.image_files import ImageFiles
from adaptface_jax.data.record import Source
from adaptface_jax.data.sources.folders import holds_identities
from adaptface_jax.data.sources.from_path import is_packed, open_form
from adaptface_jax.data.sources.listed_files import ListedFiles
from adaptface_jax.data.text_array import TextArray


def open_images(path: str) -> Source:
    """What `data.train` takes, or else (also if there is only one identity) a folder of images at any depth, as one
    class.

    Raises InputError if there is nothing there, or no image.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir() or is_packed(folder) or holds_identities(folder, 2):
        return open_form(path)
    images = ImageFiles(folder)
    files = TextArray.of(os.path.relpath(file, folder) for file in images.paths)
    source = ListedFiles(folder, files, np.zeros(len(files), np.int32), (folder.name,), f"images under {folder}")
    source.skipped_files = images.skipped_files
    return source
