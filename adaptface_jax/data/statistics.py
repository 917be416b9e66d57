"""The mean and standard deviation of a dataset's pixels, by which a network's input is normalized."""

from __future__ import annotations

import math

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.pipeline import evaluation_batches
from adaptface_jax.data.readable import Readable
from adaptface_jax.data.record import Source
from adaptface_jax.models.specs import ImageStats

_BATCH = 128


def channel_statistics(
    source: Source, image_size: int, threads: int | None = None, skip_bad: bool = False
) -> ImageStats:
    """Mean and population standard deviation of each channel over every pixel of every image, on a 0 to 1 scale.

    Sums are of integers, so the result is identical to the last bit however many threads decode.

    image_size: in pixels; the images are resized as in training.
    threads: as in `pipeline.batches`.
    skip_bad: skip images that cannot be read or decoded; otherwise they raise InputError. So does a dataset in which
    none can, and one with a constant channel.
    """
    images = Readable.of(source, strict=not skip_bad)  # black adds nothing to a sum
    total, squares = np.zeros(3, np.uint64), np.zeros(3, np.uint64)
    for batch, count in evaluation_batches(images, _BATCH, image_size, keys=images.keys, threads=threads):
        rows = batch[:count].reshape(-1, image_size * 3)  # sums down long rows are ten times as fast as down RGB
        total += _by_channel(rows)
        squares += _by_channel(np.square(rows, dtype=np.uint16))  # 255^2 fits
    images.check_some()
    pixels = (len(source) - len(images.unreadable)) * image_size**2
    mean, std = [], []
    for first, second in zip(map(int, total), map(int, squares), strict=True):
        mean.append(first / pixels / 255)
        std.append(math.sqrt(pixels * second - first**2) / pixels / 255)
    if min(std) == 0:
        raise InputError(f"{source.description}: a channel has the same value in every pixel; expected photographs")
    return ImageStats((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def _by_channel(rows: np.ndarray) -> np.ndarray:
    """Integers [N, S * 3] -> their sum over each channel, uint64 [3]."""
    return rows.sum(0, dtype=np.uint64).reshape(-1, 3).sum(0)
