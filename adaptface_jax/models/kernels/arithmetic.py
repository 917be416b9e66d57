# SPDX-License-Identifier: Apache-2.0
"""Products and their declared cost, as all kernels and what surrounds them have them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl


def dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """a b of two tiles, summed in float32; of float32 tiles in full precision."""
    precision = jax.lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    return jnp.dot(a, b, precision=precision, preferred_element_type=jnp.float32)


def over_rows(a: jax.Array, b: jax.Array) -> jax.Array:
    """a' b of [M, R] and [M, D], float32."""
    return jax.lax.dot_general(a, b, (((0,), (0,)), ((), ())), preferred_element_type=jnp.float32)


def cost(flops: int, arrays: Iterable[Any], transcendentals: int = 0) -> pl.CostEstimate:
    """What a kernel declares. flops: of products alone (`training/arithmetic.py`). arrays: all that it moves."""
    moved = sum(array.size * array.dtype.itemsize for array in arrays)
    return pl.CostEstimate(flops=flops, transcendentals=transcendentals, bytes_accessed=moved)
