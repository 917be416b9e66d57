# SPDX-License-Identifier: Apache-2.0
"""Image processing on the device: uint8 batches to normalized floats, and random augmentations with explicit keys."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates

from adaptface_jax.data.augmentation.quality import GOOD, Quality, worsened
from adaptface_jax.data.augmentation.randaugment import randaugment
from adaptface_jax.models.positions import antialiased
from adaptface_jax.models.specs import ImageStats


@functools.partial(jax.jit, static_argnames=("image_size", "stats", "dtype"))
def preprocess(images: jax.Array, image_size: int, stats: ImageStats, dtype: jax.typing.DTypeLike) -> jax.Array:
    """uint8 [B, H, W, 3] -> normalized `dtype` [B, S, S, 3], S = image_size.

    Resized exactly as Pillow resizes uint8: bicubic with a = -0.5, antialiased, first along rows, then along columns,
    rounded (half up) and clipped to 0..255 after each. Then scaled to [0, 1], then `(x - mean) / std` per channel.
    Computed in float32 whatever `dtype` is.
    """
    pixels = images.astype(jnp.float32)
    for axis in (2, 1):
        if pixels.shape[axis] != image_size:
            pixels = _resized(pixels, axis, image_size)
    mean, std = jnp.array(stats.mean), jnp.array(stats.std)
    return ((pixels / 255 - mean) / std).astype(dtype)


def _resized(pixels: jax.Array, axis: int, size: int) -> jax.Array:
    """One axis of integer levels [B, H, W, 3] resized to `size`: integer levels, identical on every backend.

    Pillow's weights are multiples of 2^-22. Each is split into a coarse part (multiples of 2^-11) and the rest, so that
    both sums are exact in float32, in whatever order a device adds.
    """
    weights = np.round(antialiased(pixels.shape[axis], size) * 2**22).astype(np.int64)
    coarse, rest = weights >> 11, weights & (2**11 - 1)
    last = jnp.moveaxis(pixels, axis, -1)

    def weighted(part: np.ndarray, unit: float) -> jax.Array:
        matrix = jnp.asarray(part.T * unit, jnp.float32)
        return jnp.moveaxis(jnp.matmul(last, matrix, precision=jax.lax.Precision.HIGHEST), -1, axis)

    sum_coarse = weighted(coarse, 2.0**-11) + 0.5
    whole = jnp.floor(sum_coarse)
    levels = whole + jnp.floor((sum_coarse - whole) + weighted(rest, 2.0**-22))
    return jnp.clip(levels, 0, 255)


@functools.partial(jax.jit, static_argnames=("flip", "randaugment_ops", "randaugment_magnitude", "shift", "quality"))
def augment(
    key: jax.Array,
    images: jax.Array,
    flip: bool,
    randaugment_ops: int,
    randaugment_magnitude: int,
    shift: float = 0.0,
    quality: Quality = GOOD,
) -> jax.Array:
    """uint8 [B, H, W, 3] -> the same shape: RandAugment, slight misalignment, degradation, a horizontal flip of half.

    Each image has its own key, split from `key` by its row: the result does not depend on how the batch is sharded.
    Which images are flipped: see mirrored.
    randaugment_ops: consecutive operations per image, 0 for none. randaugment_magnitude: see randaugment.
    shift: see jitter, 0 for none. quality: see worsened.
    """

    def one(image_key: jax.Array, image: jax.Array) -> jax.Array:
        ops_key, shift_key, _ = jax.random.split(image_key, 3)
        if randaugment_ops:
            image = randaugment(ops_key, image, randaugment_ops, randaugment_magnitude)
        if shift:
            image = jitter(shift_key, image, shift)
        if not quality.is_none:
            image = worsened(jax.random.fold_in(image_key, 3), image, quality)
        return image

    images = jax.vmap(one)(jax.random.split(key, images.shape[0]), images)
    if not flip:
        return images
    return jnp.where(mirrored(key, images.shape[0])[:, None, None, None], images[:, :, ::-1], images)


def mirrored(key: jax.Array, count: int) -> jax.Array:
    """Which of `count` images `augment` flips with this key, bool [count]."""

    def one(image_key: jax.Array) -> jax.Array:
        _, _, flip_key = jax.random.split(image_key, 3)
        return jax.random.bernoulli(flip_key)

    return jax.vmap(one)(jax.random.split(key, count))


def jitter(key: jax.Array, image: jax.Array, amount: float) -> jax.Array:
    """uint8 [H, W, 3] -> the same, shifted, scaled and rotated about its center; bilinear, edges repeated.

    amount: the shift is uniform within +-amount of the size along each axis, the scale within exp(+-amount), the angle
    within +-amount radians.
    """
    height, width, _ = image.shape
    dy, dx, log_scale, angle = jax.random.uniform(key, (4,), minval=-amount, maxval=amount)
    cos, sin = jnp.cos(angle) * jnp.exp(log_scale), jnp.sin(angle) * jnp.exp(log_scale)
    y = jnp.arange(height)[:, None] - (height - 1) / 2
    x = jnp.arange(width)[None, :] - (width - 1) / 2
    rows = cos * y - sin * x + (height - 1) / 2 + dy * height
    columns = sin * y + cos * x + (width - 1) / 2 + dx * width
    moved = [
        map_coordinates(image[..., channel].astype(jnp.float32), [rows, columns], order=1, mode="nearest")
        for channel in range(3)
    ]
    return jnp.round(jnp.stack(moved, axis=-1)).astype(jnp.uint8)
