# SPDX-License-Identifier: Apache-2.0
"""Image processing on the device: uint8 batches to normalized floats, and random augmentations with explicit keys."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from adaptface_jax.data.augmentation.quality import GOOD, Quality, worsened
from adaptface_jax.data.augmentation.randaugment import randaugment
from adaptface_jax.data.augmentation.resize import resized
from adaptface_jax.models.specs import ImageStats


@functools.partial(jax.jit, static_argnames=("image_size", "stats", "dtype", "exported"))
def preprocess(
    images: jax.Array, image_size: int, stats: ImageStats, dtype: jax.typing.DTypeLike, exported: bool = False
) -> jax.Array:
    """uint8 [B, H, W, 3] -> normalized `dtype` [B, S, S, 3], S = image_size.

    Resized as Pillow resizes, then scaled to [0, 1], then `(x - mean) / std` per channel, all in float32.
    exported: see `resized`.
    """
    mean, std = jnp.array(stats.mean), jnp.array(stats.std)
    return ((resized(images, image_size, exported).astype(jnp.float32) / 255 - mean) / std).astype(dtype)


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
