# SPDX-License-Identifier: Apache-2.0
"""Sums and largest values of rows, and sums of columns, in a form that a CPU computes quickly.

Slices of 32 are combined first, as vectors, and XLA reduces only the last 32 values. If it reduces whole rows,
the LayerNorm of 4,112 tokens of width 384 takes 2.0 ms instead of 0.7, and attention over 16 images of 257 tokens a
fifth more (two cores of an AMD EPYC). The result differs by rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

COLUMNS = 32  # of a slice, or rows


def row_sum(x: jax.Array) -> jax.Array:
    """The sum of each row of float32 [..., n], [..., 1]."""
    return _reduced(x, jnp.add, jnp.sum)


def row_max(x: jax.Array) -> jax.Array:
    """The largest value of each row of float32 [..., n], [..., 1]."""
    return _reduced(x, jnp.maximum, jnp.max)


def column_sum(x: jax.Array) -> jax.Array:
    """The sum of each column of float32 [..., n, m], [..., 1, m]."""
    return _reduced(x, jnp.add, jnp.sum, -2)


def _reduced(
    x: jax.Array, pairwise: Callable[..., jax.Array], along: Callable[..., jax.Array], axis: int = -1
) -> jax.Array:
    along = functools.partial(along, axis=axis, keepdims=True)
    width = x.shape[axis]
    whole = width - width % COLUMNS
    if whole <= COLUMNS:
        return along(x)
    slices = [jax.lax.slice_in_dim(x, first, first + COLUMNS, axis=axis) for first in range(0, whole, COLUMNS)]
    while len(slices) > 1:  # as a tree, whose rounding grows with the logarithm of the width
        paired = [pairwise(*pair) for pair in zip(slices[::2], slices[1::2], strict=False)]
        slices = paired + slices[2 * len(paired) :]
    result = along(slices[0])
    return result if whole == width else pairwise(result, along(jax.lax.slice_in_dim(x, whole, width, axis=axis)))
