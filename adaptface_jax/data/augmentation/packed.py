"""An image as one int32 per pixel, red in the lowest byte, then green and blue.

Images stay in this form between augmentations: one gather replaces three, one per channel, and XLA for CPUs, which
recomputes shared arithmetic for each of several results, has a single result to compute.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp


def pack(images: jax.Array) -> jax.Array:
    """uint8 [..., 3] -> int32 [...]."""
    images = jnp.asarray(images)
    return pack_levels(*(images[..., channel] for channel in range(3)))


def unpack(packed: jax.Array) -> jax.Array:
    """int32 [...] -> uint8 [..., 3]."""
    return jnp.stack(unpack_levels(packed), axis=-1).astype(jnp.uint8)


def pack_levels(red: jax.Array, green: jax.Array, blue: jax.Array) -> jax.Array:
    """Three arrays of numbers in [0, 256), truncated to integers, -> int32 of their shape."""
    red, green, blue = (levels.astype(jnp.int32) for levels in (red, green, blue))
    return red | green << 8 | blue << 16


def unpack_levels(packed: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """int32 [...] -> red, green and blue, each int32 [...]."""
    red, green, blue = (packed >> shift & 255 for shift in (0, 8, 16))
    return red, green, blue


def by_parts(function: Callable[[jax.Array], jax.Array], rows: jax.Array) -> jax.Array:
    """`function` applied to the two halves of the rows [H, ...] in turn, or to more parts if H is odd.

    The results of a loop are stored. Without it, XLA for CPUs, which also removes optimization barriers, repeats the
    function in every use of its result: a rotation with a hue shift took 20 times as long as the two separately.
    """
    count = rows.shape[0]
    parts = next((number for number in range(2, count) if count % number == 0), count)
    found = jax.lax.map(function, rows.reshape(parts, count // parts, *rows.shape[1:]))
    return found.reshape(count, *found.shape[2:])
