"""torchvision's ColorJitter on PIL images: brightness, contrast, saturation and hue in a random order per image.

The first three are one operation, Pillow's `Image.blend` with black, the mean gray or the gray image. An image goes
through its blends in two loops with the hue shift between them, each loop disabling (with a factor of 1) the blends on
the other side: under `vmap`, a choice among four operations in each of four places would compute all sixteen.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.augmentation.hue import shift_hue
from adaptface_jax.data.augmentation.packed import by_parts, pack_levels, unpack_levels

BLENDS = ("brightness", "contrast", "saturation")

# Factors are drawn from the multiples of 2^-13: with these, up to a factor of 4, Pillow's blend is exact in float32,
# so that no device's fused multiply-add can give another level.
FACTOR_STEP = 2.0**-13
MOST = 3


class Changes(NamedTuple):
    """The changes to one image. n is the number of enabled blends, or 0."""

    order: jax.Array  # int32 [n], indices in BLENDS
    factors: jax.Array  # float32 [n], in that order
    before_hue: jax.Array  # int32 scalar, how many blends come before the hue
    hue: jax.Array  # float32 scalar, of a turn


def color_jitter(
    key: jax.Array, packed: jax.Array, brightness: float, contrast: float, saturation: float, hue: float
) -> jax.Array:
    """Packed int32 [H, W] -> the same. Factors are uniform in [max(0, 1 - v), 1 + v], the hue shift in +-`hue` turns.

    0 disables an operation. Raises InputError for a setting below 0 or above 3, or a hue above 0.5.
    """
    return change_colors(packed, draw(key, brightness, contrast, saturation, hue), with_hue=hue > 0)


def draw(key: jax.Array, brightness: float, contrast: float, saturation: float, hue: float) -> Changes:
    """Random changes for one image; the settings are those of `color_jitter`."""
    amounts = np.array([brightness, contrast, saturation])
    for name, amount in zip(BLENDS, amounts, strict=True):
        if not 0 <= amount <= MOST:
            raise InputError(f"augment.{name}: {amount} is not within 0 to {MOST}; use 0 to disable it")
    if not 0 <= hue <= 0.5:
        raise InputError(f"augment.hue: {hue} is not within 0 to 0.5, in turns of the color wheel")
    # One draw for all: each generator call costs half a second of compilation.
    numbers = jax.random.uniform(key, (6,))

    orders = np.array(list(itertools.permutations(np.flatnonzero(amounts))), np.int32)
    order = jnp.asarray(orders)[(numbers[0] * len(orders)).astype(jnp.int32)]
    lowest = np.ceil(np.maximum(1 - amounts, 0) / FACTOR_STEP).astype(np.float32)
    highest = np.floor((1 + amounts) / FACTOR_STEP).astype(np.float32)
    factors = (lowest + jnp.floor(numbers[1:4] * (highest - lowest + 1))) * FACTOR_STEP
    before_hue = (numbers[4] * (orders.shape[1] + 1)).astype(jnp.int32)
    return Changes(order, factors[order], before_hue, (2 * numbers[5] - 1) * hue)


def change_colors(packed: jax.Array, changes: Changes, *, with_hue: bool = True) -> jax.Array:
    """Packed int32 [H, W] -> the same: the given changes, exactly as Pillow applies them.

    with_hue: False omits the hue shift.
    """
    if not with_hue:
        return _blend_in_turn(packed, changes.order, changes.factors)
    early = jnp.arange(changes.order.size) < changes.before_hue
    packed = _blend_in_turn(packed, changes.order, jnp.where(early, changes.factors, 1))
    shift = jnp.trunc(changes.hue * 255)
    shift = jnp.where(shift < 0, shift + 256, shift)
    packed = by_parts(lambda rows: pack_levels(*shift_hue(*_floats(rows), shift)), packed)
    return _blend_in_turn(packed, changes.order, jnp.where(early, 1, changes.factors))


def _blend_in_turn(packed: jax.Array, order: jax.Array, factors: jax.Array) -> jax.Array:
    """A scan, not a Python loop: XLA for CPUs would recompute each blend for every use of its result."""
    if not order.size:
        return packed

    def step(packed: jax.Array, blend: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        return _blend(packed, *blend), None

    return jax.lax.scan(step, packed, (order, factors))[0]


def _blend(packed: jax.Array, number: jax.Array, factor: jax.Array) -> jax.Array:
    """`degenerate + factor * (image - degenerate)` with number `number` of BLENDS, truncated as by `Image.blend`."""
    channels = _floats(packed)
    red, green, blue = channels
    gray = jnp.floor((19595 * red + 38470 * green + 7471 * blue + 0x8000) * 2.0**-16)  # below 2^24 until scaled
    mean = (2 * gray.astype(jnp.int32).sum() + gray.size) // (2 * gray.size)  # rounded half up
    degenerate = jnp.where(number == 0, 0.0, jnp.where(number == 1, mean.astype(jnp.float32), gray))
    return pack_levels(*(jnp.clip(degenerate + factor * (level - degenerate), 0, 255) for level in channels))


def _floats(packed: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    red, green, blue = (levels.astype(jnp.float32) for levels in unpack_levels(packed))
    return red, green, blue
