"""The random augmentations of the classification studies, on the device, as torchvision applies them to PIL images."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from adaptface_jax.data.augmentation.color_jitter import color_jitter
from adaptface_jax.data.augmentation.packed import pack, unpack
from adaptface_jax.data.augmentation.random_crop import random_resized_crop
from adaptface_jax.data.augmentation.rotation import random_rotation


@functools.partial(
    jax.jit,
    static_argnames=(
        "flip", "rotation", "brightness", "contrast", "saturation", "hue", "crop_scale", "crop_ratio",
    ),
)  # fmt: skip
def augment_images(
    key: jax.Array,
    images: jax.Array,
    *,
    flip: bool,
    rotation: float,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
    crop_scale: tuple[float, float] | None,
    crop_ratio: tuple[float, float],
) -> jax.Array:
    """uint8 [B, H, W, 3] -> the same shape: a horizontal flip of half, a rotation, color jitter, a resized crop.

    Each image has its own key, split from `key` by its row: the result does not depend on how the batch is sharded.
    rotation: degrees, see random_rotation. brightness, contrast, saturation, hue: see color_jitter.
    crop_scale, crop_ratio: see random_resized_crop. 0, or None for crop_scale, disables an augmentation.
    Raises InputError as these functions do.
    """
    with_colors = bool(brightness or contrast or saturation or hue)

    def one(image_key: jax.Array, packed: jax.Array) -> jax.Array:
        flip_key, rotation_key, color_key, crop_key = jax.random.split(image_key, 4)
        if flip:
            packed = jnp.where(jax.random.bernoulli(flip_key), packed[:, ::-1], packed)
        if rotation:
            packed = random_rotation(rotation_key, packed, rotation)
        if with_colors:
            packed = color_jitter(color_key, packed, brightness, contrast, saturation, hue)
        if crop_scale is not None:
            packed = random_resized_crop(crop_key, packed, crop_scale, crop_ratio)
        return packed

    if not (flip or rotation or with_colors or crop_scale is not None):
        return images
    return unpack(jax.vmap(one)(jax.random.split(key, images.shape[0]), pack(images)))
