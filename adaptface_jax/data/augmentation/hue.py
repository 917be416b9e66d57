"""A hue shift, identical to Pillow's for every color: RGB to its "HSV" of three bytes, a new H, and back to RGB.

Source: `rgb2hsv_row` and `hsv2rgb` in Pillow's libImaging/Convert.c, and torchvision's adjust_hue. Pillow's
quotients are floats of two widths, and if H is an integer before truncation, their rounding errors decide. Here all
numbers are integers below 2^24, exact in float32 on every device; each division tolerates errors of several units in
the last place, and the values of H that Pillow's errors decide are listed.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np


def shift_hue(
    red: jax.Array, green: jax.Array, blue: jax.Array, shift: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """float32 planes of integer levels 0..255 -> the same; `shift` (float32 integer, 0..255) is added to H mod 256."""
    hue, saturation, value = _to_hsv(red, green, blue)
    hue = hue + shift
    return _to_rgb(jnp.where(hue > 255, hue - 256, hue), saturation, value)


def _to_hsv(red: jax.Array, green: jax.Array, blue: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Three levels to three bytes (float32 integers)."""
    high = jnp.maximum(jnp.maximum(red, green), blue)
    low = jnp.minimum(jnp.minimum(red, green), blue)
    saturation = jnp.floor((255 * (high - low) + 0.5) / jnp.maximum(high, 1))
    return _hue(red, green, blue, high, low), saturation, high


def _hue(red: jax.Array, green: jax.Array, blue: jax.Array, high: jax.Array, low: jax.Array) -> jax.Array:
    """H, 0..255: the angle in units of 60/85 degrees, halved and truncated, or one less where Pillow falls short."""
    blue_low, red_low = blue == low, red == low
    secondary = jnp.where(blue_low, 85.0, jnp.where(red_low, 255.0, 425.0))  # yellow, cyan, magenta
    past = jnp.where(blue_low, red < high, jnp.where(red_low, green < high, blue < high))
    # How far from the secondary color: 85 * (high - middle) / (high - low).
    spread = high - low
    numerator = 85 * (2 * high + low - red - green - blue)
    distance = jnp.floor((numerator + 0.5) / jnp.maximum(spread, 1))
    whole = distance * spread == numerator
    angle = jnp.where(past, secondary + distance, secondary - distance - jnp.where(whole, 0.0, 1.0))

    # Bits, not a table: XLA for CPUs fuses a lookup into what follows and repeats it (15 times as slow).
    place = distance.astype(jnp.int32)

    def word(number: int) -> jax.Array:
        to_yellow, to_cyan, past_cyan, to_magenta = (jnp.uint32(words[number]) for words in _SHORT)
        in_cyan = jnp.where(past, past_cyan, to_cyan)
        return jnp.where(blue_low, to_yellow, jnp.where(red_low, in_cyan, to_magenta))

    listed = (jnp.where(place < 64, word(0), word(1)) >> ((place >> 1) & 31).astype(jnp.uint32)) & 1 == 1
    short = whole & listed & (place & 1 == 1) & (red_low | ~past)
    return jnp.where(spread == 0, 0.0, jnp.floor(angle / 2) - jnp.where(short, 1.0, 0.0))


def _falls_short(sector: int, sign: int) -> tuple[int, int]:
    """Two 32-bit words; bit n: at the integer distance 2 n + 1, Pillow's floats end up below `angle / 2`."""
    distance = np.arange(1, 86, 2)
    fraction = (distance.astype(np.float32) / np.float32(85)).astype(np.float64)
    hue = (sector + sign * fraction).astype(np.float32).astype(np.float64)
    found = np.floor((hue / 6).astype(np.float32).astype(np.float64) * 255)
    places = np.flatnonzero(found < (85 * sector + sign * distance) // 2).tolist()
    return sum(1 << place for place in places if place < 32), sum(1 << place - 32 for place in places if place >= 32)


# Toward yellow, toward and past cyan, toward magenta. None fall short past yellow, past magenta, at even distances.
_SHORT = (_falls_short(1, -1), _falls_short(3, -1), _falls_short(3, 1), _falls_short(5, -1))


def _to_rgb(hue: jax.Array, saturation: jax.Array, value: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Three bytes (float32 integers) to three levels."""
    sector = jnp.floor((6 * hue + 0.5) / 255)  # 0..6
    rest = 6 * hue - 255 * sector
    weight = jnp.where(sector % 2 == 1, rest, 255 - rest)

    color = value * saturation
    lowest = value - jnp.floor((color + 127.5) / 255)
    # round(color * weight / 255^2): the quotient may be off by one, the remainder is exact.
    product = color * weight
    quotient = jnp.floor(product * np.float32(1 / 65025))
    middle = value - quotient - (product - 65025 * quotient > 32512).astype(jnp.float32)

    def at(*sectors: int) -> jax.Array:
        return functools.reduce(jnp.logical_or, [sector == number for number in sectors])

    return (
        jnp.where(at(0, 5, 6), value, jnp.where(at(1, 4), middle, lowest)),
        jnp.where(at(1, 2), value, jnp.where(at(0, 3, 6), middle, lowest)),
        jnp.where(at(3, 4), value, jnp.where(at(2, 5), middle, lowest)),
    )
