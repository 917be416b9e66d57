# SPDX-License-Identifier: Apache-2.0
"""Products with a kernel in the forms that are the fastest on a CPU.

Results are float32. Of bfloat16 tokens they are rounded with what is computed from them: the library of products rounds
in a pass of its own, and jaxlib 0.10 leaves products of bfloat16 to it only if their results are float32. XLA decides
that before it simplifies anything, hence by how a product is written here: if a factor is itself a transpose or summed
over its rows, both are widened to float32, and with oneDNN switched on they all are.

The library computes a few columns of bfloat16 in tiles of 16, 32 or 64: 4,112 tokens times [384, 48] take 695 us, times
[384, 64] 423, [384, 8] 267 and [384, 16] 147 (one core of an AMD EPYC with AVX-512; not in float32).

Rows that are a multiple of 1 KB apart compete for the same few sets of a cache. Where a product is that wide, the
library stores to it at half to nine tenths of its speed: 4,112 tokens times [384, 1536] took 75 ms, with eight more
columns 54 ms (2,056 times [768, 3072]: 228 and 110 ms; one core of an AMD EPYC). On two cores, which cut products into
other pieces, no difference was seen, nor with AVX-512 on one.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from adaptface_jax.core import processors

TILES = (16, 32, 64)  # columns of bfloat16
SETS = 256  # float32 values: what rows are a multiple of when they compete
NARROW = 1024  # below, nothing is lost
MORE = 8  # columns of zeros, a vector of AVX


def stored(width: int, dtype: jax.typing.DTypeLike) -> int:
    """The columns that a product of this width and dtype of factors is computed with."""
    has = processors.flags()
    if jnp.dtype(dtype) == jnp.bfloat16 and "avx512_bf16" in has:
        return next((tile for tile in TILES if tile >= width), width)
    return width + MORE if width >= NARROW and width % SETS == 0 and "avx512f" not in has else width


@jax.custom_vjp
def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """x [..., in] @ kernel [in, out] in float32; in forward passes also x [B, T, in] @ kernel [B, in, out]."""
    return _product(x, kernel, kernel.ndim - 2)


def _product(x: jax.Array, kernel: jax.Array, summed: int) -> jax.Array:
    """Summed over the last axis of x and this axis of the kernel; its axes before the last two are batches."""
    batches = tuple(range(kernel.ndim - 2))
    (across,) = {kernel.ndim - 2, kernel.ndim - 1} - {summed}
    width = kernel.shape[across]
    if more := stored(width, kernel.dtype) - width:
        kernel = jnp.pad(kernel, [(0, more if axis == across else 0) for axis in range(kernel.ndim)])
    dimensions = (((x.ndim - 1,), (summed,)), (batches, batches))
    return jax.lax.dot_general(x, kernel, dimensions, preferred_element_type=jnp.float32)[..., :width]


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return product(x, kernel), (x, kernel)


def _backward(residuals: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    dy = dy.astype(x.dtype)
    return _product(dy, kernel, 1).astype(x.dtype), _over_rows(x, dy)


def _over_rows(x: jax.Array, dy: jax.Array) -> jax.Array:
    """x' dy [in, out]. The first factor is copied, transposed: it is the narrow one."""
    pair = [array.reshape(-1, array.shape[-1]) for array in (x, dy)]
    narrow, wide = sorted(pair, key=lambda array: array.shape[-1])
    found = jnp.matmul(turned(narrow, 1, 0), wide, preferred_element_type=jnp.float32).astype(x.dtype)
    # Without the barrier, the transposed product is rewritten as that of the wide factor by the narrow one.
    return found if narrow is pair[0] else jax.lax.optimization_barrier(found).T


product.defvjp(_forward, _backward)


def turned(x: jax.Array, *axes: int) -> jax.Array:
    """x.transpose(axes), in a form whose products are left to the library: the transpose is not itself a factor."""
    return jax.lax.squeeze(x[None].transpose(0, *(1 + axis for axis in axes)), (0,))
