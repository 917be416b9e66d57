"""An affine transform as Pillow computes it: nearest neighbor in fixed point, black outside."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def warp(
    image: jax.Array,
    radians: jax.Array,
    shear: jax.Array | float = 0.0,
    shift: jax.Array | float = 0.0,
    rows: jax.Array | None = None,
) -> jax.Array:
    """[H, W, ...] -> the same, rotated about its center, sheared along x and shifted.

    radians: float32, clockwise as displayed. shear: input columns per output row. shift: columns to the right.
    rows: int32, the indices of the rows to compute; None for all.
    Source positions are in 16.16 fixed point from pixel centers, as in Pillow's affine transform.
    """
    height, width = image.shape[:2]
    cos, sin = jnp.cos(radians), jnp.sin(radians)
    x_from_y = sin + shear
    center_x, center_y = width / 2, height / 2
    x_offset = center_x - cos * center_x - sin * center_y - shift
    y_offset = center_y + sin * center_x - cos * center_y

    def fixed(number: jax.Array) -> jax.Array:
        return jnp.floor(number * 65536 + 0.5).astype(jnp.int32)

    column, row = jnp.arange(width)[None, :], (jnp.arange(height) if rows is None else rows)[:, None]
    x = (fixed(x_offset + (cos + x_from_y) / 2) + column * fixed(cos) + row * fixed(x_from_y)) >> 16
    y = (fixed(y_offset + (cos - sin) / 2) + column * fixed(-sin) + row * fixed(cos)) >> 16
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    place = jnp.clip(y, 0, height - 1) * width + jnp.clip(x, 0, width - 1)
    pixels = image.reshape(height * width, *image.shape[2:])[place]
    return jnp.where(inside.reshape(*inside.shape, *(1 for _ in image.shape[2:])), pixels, 0)
