"""Random small misalignments on the device: what a face detector's landmarks leave, and more data for tiny sets."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates


def jitter(key: jax.Array, image: jax.Array, amount: float) -> jax.Array:
    """uint8 [H, W, 3] -> the same, shifted, scaled and turned about its centre; bilinear, edges repeated.

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
