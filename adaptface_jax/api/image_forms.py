# SPDX-License-Identifier: Apache-2.0
"""The forms in which a caller may give images, brought to the few that are read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import one_line

# A path, an encoded file, a Pillow image, or uint8 [H, W, 3]; [N, H, W, 3] is N of them. Besides: what `one_image`
# brings to one of these.
ImageLike = str | os.PathLike[str] | bytes | Image.Image | np.ndarray
Images = ImageLike | Iterable[ImageLike]

EXPECTED = "a path, a file's bytes, a Pillow image or a uint8 array [H, W, 3]"
_ONE = (str, os.PathLike, bytes, Image.Image, np.ndarray)


def one_image(item: Any, number: int) -> Any:
    """An array of another library as NumPy's, an open file or a buffer as bytes, anything else unchanged.

    number: names it in errors. Raises InputError for a file or an array that cannot be read.
    """
    if isinstance(item, _ONE):
        return item
    if isinstance(item, bytearray | memoryview):
        return bytes(item)
    try:
        if hasattr(item, "__array__"):
            return np.asarray(item)
        found = item.read() if hasattr(item, "read") else item
    except Exception as error:  # whatever another library raises: a tensor on a GPU, a closed file
        raise InputError(f"image {number}: the {type(item).__name__} cannot be read ({one_line(error)})") from None
    if found is not item and not isinstance(found, bytes):
        raise InputError(f"image {number}: is a file of text; open it in binary mode, or give its path")
    return found


def collection(images: Any) -> Any:
    """Images as `each_image` takes them: what is one image in another form is brought to ours, and an array of paths
    or of objects, as NumPy and pandas hold them, becomes a list."""
    if isinstance(images, list | tuple):
        return images
    images = one_image(images, 0)
    if isinstance(images, np.ndarray) and (images.dtype.kind in "OU" or images.shape == (0,)):
        return images.tolist()
    return images


def each_image(images: Images) -> Iterator[Any]:
    """The images one at a time, arrays of N images split up. Raises InputError for what holds no images."""
    if not isinstance(images, _ONE) and not isinstance(images, Iterable):
        raise InputError(f"images: is a {type(images).__name__}; expected {EXPECTED}, or any number of them")
    number = 0
    for item in (images,) if isinstance(images, _ONE) else images:
        image = one_image(item, number)
        several = image if isinstance(image, np.ndarray) and image.ndim == 4 else (image,)
        yield from several
        number += len(several)


def is_path(image: object) -> bool:
    """Whether an image is named by its file."""
    return isinstance(image, str | os.PathLike)


def is_pixels(image: object, size: int) -> bool:
    """Whether an image is already uint8 [size, size, 3]."""
    return isinstance(image, np.ndarray) and image.shape == (size, size, 3) and image.dtype == np.uint8
