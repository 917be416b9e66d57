# SPDX-License-Identifier: Apache-2.0
"""Attention over one image at a time, with a custom backward pass: for processors that depend on their cache.

The scores of one image (ViT-S at 224 px: 1.6 MB) stay in the cache between the products that make and use them; those
of a batch go to memory and back at every operation. Source: FlashAttention (arXiv 2205.14135), section 3 and B.4: the
result and each row's log-sum-exp are kept, from which the backward pass computes the probabilities by one exponential,
and the row sums of dP * P as those of dY * Y.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from adaptface_jax.models.layers.product import turned
from adaptface_jax.models.layers.remat import kept
from adaptface_jax.models.layers.rows import row_max, row_sum

ABREAST = 2  # 4 are no faster on two cores, and batching two images into the same operations is slower
_ROWS_WITH_ROWS = (((2,), (2,)), ((0,), (0,)))  # a b' of each head
_COLUMNS_WITH_ROWS = (((2,), (1,)), ((0,), (0,)))  # a b


@jax.custom_vjp
def attend_each(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """softmax(q k' / sqrt(d)) v of [B, T, heads, d]; scores and softmax in float32."""
    return _forward(q, k, v)[0]


def _forward(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    y, log_sum = _each(_one_forward, q, k, v)
    y = kept(y)
    return y, (q, k, v, y, kept(log_sum))


def _backward(residuals: tuple[jax.Array, ...], dy: jax.Array) -> tuple[jax.Array, ...]:
    return _each(_one_backward, *residuals, dy)


attend_each.defvjp(_forward, _backward)


def _each(function: Callable[..., tuple[jax.Array, ...]], *arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Over the first axis, a few at a time as separate operations, which use cores that others leave idle.

    Images are read from the arrays and written to the results in place: arrays split for the loop would be copies.
    """
    count, abreast = len(arrays[0]), math.gcd(len(arrays[0]), ABREAST)
    of_one = jax.eval_shape(function, *(jax.ShapeDtypeStruct(array.shape[1:], array.dtype) for array in arrays))
    empty = tuple(jnp.zeros((count, *part.shape), part.dtype) for part in of_one)

    def body(i: jax.Array, found: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        for image in (abreast * i + number for number in range(abreast)):
            parts = function(*(jax.lax.dynamic_index_in_dim(array, image, keepdims=False) for array in arrays))
            found = tuple(
                jax.lax.dynamic_update_index_in_dim(whole, part, image, 0)
                for whole, part in zip(found, parts, strict=True)
            )
        return found

    return jax.lax.fori_loop(0, count // abreast, body, empty)


def _one_forward(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
    """For one image [T, heads, d]: y, and log sum exp of each row's scores, float32 [heads, T]."""
    q, k, v = (turned(x, 1, 0, 2) for x in (q, k, v))
    scores = _scores(q, k)
    top = row_max(scores)
    exponentials = jnp.exp(scores - top).astype(v.dtype)
    total = row_sum(exponentials.astype(jnp.float32))
    # Divided after the product, where there are fewer values.
    y = _product(exponentials, v, _COLUMNS_WITH_ROWS) / total
    return y.astype(v.dtype).swapaxes(0, 1), (top + jnp.log(total))[..., 0]


def _one_backward(
    q: jax.Array, k: jax.Array, v: jax.Array, y: jax.Array, log_sum: jax.Array, dy: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    dtype = q.dtype
    # All is transposed, [heads, T of k, T of q]: a product that is summed over the rows of its first factor is not left
    # to the library, so that dq' = k' dS', of which k' is the smallest to write.
    columns = turned(k, 1, 2, 0)
    q, k, v, y, dy = (turned(x, 1, 0, 2) for x in (q, k, v, y, dy))
    probabilities = jnp.exp(_scores(k, q) - log_sum[:, None, :])
    row_sums = row_sum(dy.astype(jnp.float32) * y.astype(jnp.float32)).swapaxes(1, 2)
    d_scores = probabilities * (_product(v, dy, _ROWS_WITH_ROWS) - row_sums) / math.sqrt(q.shape[-1])
    d_scores = d_scores.astype(dtype)
    dq = _product(columns, d_scores, _COLUMNS_WITH_ROWS).astype(dtype)
    dk = _product(d_scores, q, _COLUMNS_WITH_ROWS).astype(dtype)
    dv = _product(probabilities.astype(dtype), dy, _COLUMNS_WITH_ROWS).astype(dtype)
    return dq.transpose(2, 0, 1), dk.swapaxes(0, 1), dv.swapaxes(0, 1)


def _scores(q: jax.Array, k: jax.Array) -> jax.Array:
    return _product(q, k, _ROWS_WITH_ROWS) / math.sqrt(q.shape[-1])


def _product(a: jax.Array, b: jax.Array, dimensions: Any) -> jax.Array:
    return jax.lax.dot_general(a, b, dimensions, preferred_element_type=jnp.float32)
