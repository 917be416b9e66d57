"""torchvision's RandomRotation on PIL images: nearest neighbor, same size, black corners."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.augmentation.packed import by_parts
from adaptface_jax.data.augmentation.warp import warp


def random_rotation(key: jax.Array, packed: jax.Array, degrees: float) -> jax.Array:
    """Packed int32 [H, W] -> the same, rotated by an angle uniform within +-degrees.

    Raises InputError for degrees outside 0..180.
    """
    return rotate(packed, draw_angle(key, degrees))


def draw_angle(key: jax.Array, degrees: float) -> jax.Array:
    """A float32 scalar, uniform within +-degrees."""
    if not 0 <= degrees <= 180:
        raise InputError(f"augment.rotation: {degrees} is not within 0 to 180 degrees")
    return jax.random.uniform(key, minval=-degrees, maxval=degrees)


def rotate(packed: jax.Array, degrees: jax.Array) -> jax.Array:
    """Packed int32 [H, W] -> the same, rotated counterclockwise about its center as by Pillow's `Image.rotate`."""
    return by_parts(lambda rows: warp(packed, -jnp.deg2rad(degrees), rows=rows), jnp.arange(packed.shape[0]))
