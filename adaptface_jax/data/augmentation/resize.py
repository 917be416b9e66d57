# SPDX-License-Identifier: Apache-2.0
"""Resizing on the device, level for level as Pillow resizes uint8.

Bicubic with a = -0.5, antialiased, first along rows, then along columns, rounded (half up) and clipped to 0..255 after
each. Pillow's weights are multiples of 2^-22 and its sums fit int32, so they are exact here, too, on every device.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adaptface_jax.models.positions import antialiased

BITS = 22  # of Pillow's weights


def resized(images: jax.Array, size: int, exported: bool = False) -> jax.Array:
    """uint8 [B, H, W, 3] -> uint8 [B, size, size, 3]. exported: by products alone, which every format knows."""
    for axis in (2, 1):
        if images.shape[axis] != size:
            weights = np.round(antialiased(images.shape[axis], size) * 2**BITS).astype(np.int32)
            taps, products = (functools.partial(form, axis=axis, weights=weights) for form in (by_taps, by_products))
            images = products(images) if exported else jax.lax.platform_dependent(images, tpu=products, default=taps)
    return images


def by_taps(levels: jax.Array, axis: int, weights: np.ndarray) -> jax.Array:
    """One axis by weights [size, levels along the axis]: of each result only the levels with a weight are read.

    From 112 to 224 the products below take 3.5 times as long on two cores of a Zen 3.
    """
    size, count = weights.shape
    if size % count == 0:
        return _stretched(levels, axis, weights)
    first = np.argmax(weights != 0, axis=1)
    taps = int(np.max(count - np.argmax(weights[:, ::-1] != 0, axis=1) - first))
    first = np.minimum(first, count - taps)
    total: Any = 0
    for tap in range(taps):
        read = jnp.take(levels, first + tap, axis=axis, mode="clip")
        total += read.astype(jnp.int32) * _along(axis, weights[np.arange(size), first + tap])
    return _rounded(total)


def _stretched(levels: jax.Array, axis: int, weights: np.ndarray) -> jax.Array:
    """To a multiple of the size: all results between two levels read the same ones, so that nothing is gathered."""
    size, count = weights.shape
    ratio = size // count
    result, level = np.nonzero(weights)
    offsets = level - result // ratio
    lowest, highest = int(offsets.min()), int(offsets.max())
    around = [(0, 0)] * levels.ndim
    around[axis] = (-lowest, highest)
    padded = jax.lax.optimization_barrier(jnp.pad(levels, around))  # else each of its readers looks for the edges
    own = np.zeros((highest - lowest + 1, size), np.int32)
    own[offsets - lowest, result] = weights[result, level]
    total: Any = 0
    for tap, each in enumerate(own):
        read = jax.lax.slice_in_dim(padded, tap, tap + count, axis=axis)
        total += jnp.expand_dims(read, axis + 1).astype(jnp.int32) * _along(axis, each.reshape(count, ratio))
    made = _rounded(total)
    return made.reshape(*made.shape[:axis], size, *made.shape[axis + 2 :])


def _along(axis: int, weights: np.ndarray) -> np.ndarray:
    """Weights that multiply an axis of [B, H, W, 3], or that axis in two."""
    return weights.reshape(*weights.shape, *[1] * (3 - axis))


def _rounded(total: jax.Array) -> jax.Array:
    """Sums of levels times weights to levels."""
    made = jnp.clip((total + (1 << (BITS - 1))) >> BITS, 0, 255).astype(jnp.uint8)
    return jax.lax.optimization_barrier(made)  # else the second axis computes the first again for each of its taps


def by_products(levels: jax.Array, axis: int, weights: np.ndarray) -> jax.Array:
    """The same as matrix products, for exported graphs and devices that gather slowly.

    Each weight is split into a coarse part (multiples of 2^-11) and the rest, so that both sums are exact in float32,
    in whatever order a device adds.
    """
    half = BITS // 2
    coarse, rest = weights >> half, weights & ((1 << half) - 1)
    last = jnp.moveaxis(levels.astype(jnp.float32), axis, -1)

    def weighted(part: np.ndarray, unit: float) -> jax.Array:
        matrix = jnp.asarray(part.T * unit, jnp.float32)
        return jnp.moveaxis(jnp.matmul(last, matrix, precision=jax.lax.Precision.HIGHEST), -1, axis)

    sum_coarse = weighted(coarse, 2.0**-half) + 0.5
    whole = jnp.floor(sum_coarse)
    made = whole + jnp.floor((sum_coarse - whole) + weighted(rest, 2.0**-BITS))
    return jnp.clip(made, 0, 255).astype(jnp.uint8)
