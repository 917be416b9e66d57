"""The size at which images are transferred to the device: the dataset's, if uniform, and at most the model's."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.decode import header_size
from adaptface_jax.data.pipeline import STORED_SIZE
from adaptface_jax.data.record import Images, Source

AUTO = "auto"
SETTING = "data.stored_size"
SAMPLE = 64  # images whose headers are read


@dataclasses.dataclass(frozen=True)
class StoredSize:
    """pixels: the side length. why: in a few words."""

    pixels: int
    why: str


def stored_size(wanted: int | str, image_size: int, images: Sequence[bytes | np.ndarray] | Source) -> StoredSize:
    """The size for these images and a model of `image_size` pixels.

    wanted: a number, or AUTO. AUTO is the longer side of the images if a sample of them (SAMPLE, evenly spaced) has
    one size, `image_size` if all of the sample is at least that large, and STORED_SIZE otherwise; at most `image_size`,
    which loses nothing, and at least STORED_SIZE.
    """
    if isinstance(wanted, int):
        return StoredSize(wanted, SETTING)
    sizes = _sizes(images)
    if not sizes:
        return StoredSize(STORED_SIZE, "no image could be read")
    low, high = sizes[0], sizes[-1]
    if low == high:
        own, why = max(low), f"{_of(images)} {low[0]}x{low[1]}"
    else:
        own = image_size if min(min(size) for size in sizes) >= image_size else STORED_SIZE
        why = f"{_of(images)} {low[0]}x{low[1]} to {high[0]}x{high[1]}"
        if own < min(image_size, max(high)):
            why += f"; {SETTING}={image_size} keeps more"
    return StoredSize(max(STORED_SIZE, min(own, image_size)), why)


def size_line(pixels: int, image_size: int, why: str = "") -> str:
    """The sizes at which an image is stored and enters the model, one line for headers."""
    return f"images    {pixels} px stored -> {image_size} px in the model" + (f" ({why})" if why else "")


def _of(images: Sequence[bytes | np.ndarray] | Source) -> str:
    return "the images are" if len(images) <= SAMPLE else f"{SAMPLE} of {len(images):,} images are"


def _sizes(images: Sequence[bytes | np.ndarray] | Source) -> list[tuple[int, int]]:
    """(width, height) of each image in the sample with a valid header, the smallest first."""
    if isinstance(images, Source):
        if images.image_size is not None:
            return [images.image_size]
        images = Images(images)
    found = []
    for number in np.linspace(0, len(images) - 1, min(SAMPLE, len(images))).round().astype(int).tolist():
        try:
            found.append(header_size(images[number], ""))
        except InputError:
            continue  # reading it reports the error
    return sorted(found, key=lambda size: (size[0] * size[1], size))
