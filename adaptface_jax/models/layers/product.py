# SPDX-License-Identifier: Apache-2.0
"""Products with a kernel whose results a processor's cache can take at full speed.

Rows that are a multiple of 1 KB apart compete for the same few sets of a cache. Where a product is that wide, the CPU's
library of products stores to it at half to nine tenths of its speed: 4,112 tokens times [384, 1536] took 75 ms, with
eight more columns 54 ms (2,056 times [768, 3072]: 228 and 110 ms; one core of an AMD EPYC). On two cores, which cut
products into other pieces, no difference was seen, nor with AVX-512 on one.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from adaptface_jax.core import processors

SETS = 256  # float32 values: what rows are a multiple of when they compete
NARROW = 1024  # below, nothing is lost
MORE = 8  # columns of zeros, a vector of AVX


def competes(width: int) -> bool:
    """Whether the rows of a product of this width compete for a cache's sets."""
    return width >= NARROW and width % SETS == 0 and "avx512f" not in processors.flags()


@jax.custom_vjp
def spread_product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """x [..., in] @ kernel [in, out], the columns of zeros cut off again; its gradient in the same way."""
    width = kernel.shape[1]
    if competes(width):
        kernel = jnp.pad(kernel, ((0, 0), (0, MORE)))
    return jnp.matmul(x, kernel)[..., :width]


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return spread_product(x, kernel), (x, kernel)


def _backward(residuals: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    rows = tuple(range(dy.ndim - 1))
    return spread_product(dy, kernel.T), jax.lax.dot_general(x, dy, ((rows, rows), ((), ())))


spread_product.defvjp(_forward, _backward)
