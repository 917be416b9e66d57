"""torchvision's RandomResizedCrop on PIL images, back to the original size of the image.

A part of an image is enlarged or kept, never reduced, so Pillow's antialiased bilinear filter has two taps. Their
weights are quotients of small integers, rounded to multiples of 2^-22: in int32 the result equals Pillow's exactly.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.augmentation.packed import pack_levels, unpack_levels

ATTEMPTS = 10
_BITS = 22


class Box(NamedTuple):
    """int32 scalars, in pixels, as torchvision's `get_params` returns them."""

    top: jax.Array
    left: jax.Array
    height: jax.Array
    width: jax.Array


def random_resized_crop(
    key: jax.Array, packed: jax.Array, scale: tuple[float, float], ratio: tuple[float, float]
) -> jax.Array:
    """Packed int32 [H, W] -> the same: a random part of the image, resized to its size.

    scale: smallest and largest fraction of the area. ratio: smallest and largest width over height.
    Raises InputError unless 0 < smallest <= largest, and for a largest scale above 1.
    """
    return crop_and_resize(packed, draw_box(key, packed.shape[0], packed.shape[1], scale, ratio))


def draw_box(key: jax.Array, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]) -> Box:
    """Area uniform in `scale`, ratio log-uniform in `ratio`; the first of ten attempts that fits, uniformly placed.

    If none fits: the largest central box with a permitted ratio.
    """
    if not 0 < scale[0] <= scale[1] <= 1:
        raise InputError(f"augment.crop_scale: {scale} is not two fractions in order; expected e.g. (0.8, 1.0)")
    if not 0 < ratio[0] <= ratio[1] < math.inf:
        raise InputError(f"augment.crop_ratio: {ratio} is not two ratios in order; expected e.g. (0.75, 1.3333)")
    # One draw for all: each generator call costs half a second of compilation.
    numbers = jax.random.uniform(key, (2 * ATTEMPTS + 2,))
    for_area, for_ratio, for_place = numbers[:ATTEMPTS], numbers[ATTEMPTS:-2], numbers[-2:]
    area = height * width * (scale[0] + for_area * (scale[1] - scale[0]))
    aspect = jnp.exp(math.log(ratio[0]) + for_ratio * math.log(ratio[1] / ratio[0]))
    widths = jnp.round(jnp.sqrt(area * aspect)).astype(jnp.int32)
    heights = jnp.round(jnp.sqrt(area / aspect)).astype(jnp.int32)
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)

    first, found = jnp.argmax(fits), fits.any()
    fallback_height, fallback_width = _fallback(height, width, ratio)
    box_height = jnp.where(found, heights[first], fallback_height)
    box_width = jnp.where(found, widths[first], fallback_width)
    top = (for_place[0] * (height - box_height + 1)).astype(jnp.int32)
    left = (for_place[1] * (width - box_width + 1)).astype(jnp.int32)
    return Box(
        jnp.where(found, top, (height - fallback_height) // 2),
        jnp.where(found, left, (width - fallback_width) // 2),
        box_height,
        box_width,
    )


def _fallback(height: int, width: int, ratio: tuple[float, float]) -> tuple[int, int]:
    """Height and width of the largest box with a permitted ratio."""
    if width / height < ratio[0]:
        return max(1, round(width / ratio[0])), width
    if width / height > ratio[1]:
        return height, max(1, round(height * ratio[1]))
    return height, width


def crop_and_resize(packed: jax.Array, box: Box) -> jax.Array:
    """Packed int32 [H, W] -> the same: the box, no pixel outside it, like `crop` followed by `resize` with BILINEAR.

    Along rows first, then along columns, rounded to levels after each, as in Pillow.
    """
    return _enlarge(_enlarge(packed, 1, box.left, box.width), 0, box.top, box.height)


def _enlarge(packed: jax.Array, axis: int, start: jax.Array, length: jax.Array) -> jax.Array:
    """`length` pixels from `start`, resized to the full length of the axis."""
    size = packed.shape[axis]
    # The offset of each new pixel's center from that of the box's first: whole pixels, and a remainder over 2 * size.
    place = (2 * jnp.arange(size) + 1) * length - size
    before, rest = place // (2 * size), place % (2 * size)
    # round(rest / (2 * size) * 2^22) in two steps of long division, each below 2^31.
    half = _BITS // 2
    coarse, rest = (rest << half) // (2 * size), (rest << half) % (2 * size)
    weight = (coarse << half) + ((rest << half) + size) // (2 * size)
    # A tap past an edge of the box is omitted, which gives the other one weight 1: the same as repeating the edge.
    taps = (jnp.take(packed, start + jnp.clip(tap, 0, length - 1), axis, mode="clip") for tap in (before, before + 1))
    first, second = map(unpack_levels, taps)
    weight = jnp.expand_dims(weight, 1 - axis)
    half_level = 1 << _BITS - 1
    levels = (a + ((b - a) * weight + half_level >> _BITS) for a, b in zip(first, second, strict=True))
    return pack_levels(*levels)
