# SPDX-License-Identifier: Apache-2.0
"""Products with a frozen kernel that carry low-rank factors as further rows or columns of it.

A product with a few more rows or columns costs less than a narrow product beside it, which reads all tokens again.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from adaptface_jax.models.kernels.arithmetic import over_rows
from adaptface_jax.models.kernels.junction import extended


@jax.custom_vjp
def product_from(n: jax.Array, low: jax.Array, w: jax.Array, b: jax.Array, bias: jax.Array) -> jax.Array:
    """[n | h | 1 | 0 ...] @ [w; b; bias; 0] = n w + h b + bias, [M, out]; n and low, a copy of h, as `junction` gives.

    w [D, out] and bias [out] are frozen, b [R, out] is trained.
    """
    return jnp.matmul(n, _rows(n, w, b, bias))


def _from_forward(n: jax.Array, low: jax.Array, *weights: jax.Array) -> tuple[jax.Array, Any]:
    return product_from(n, low, *weights), (low, *weights)


def _from_backward(residuals: Any, dy: jax.Array) -> tuple[jax.Array, ...]:
    low, w, b, bias = residuals
    dy = jax.lax.optimization_barrier(dy)  # written once, not put together for each product by itself
    dn = jnp.matmul(dy, _rows(dy, w, b, jnp.zeros_like(bias)).T)
    return dn, jnp.zeros_like(low), jnp.zeros_like(w), over_rows(low, dy).astype(b.dtype), jnp.zeros_like(bias)


product_from.defvjp(_from_forward, _from_backward)


@jax.custom_vjp
def product_to(y: jax.Array, w: jax.Array, a: jax.Array) -> jax.Array:
    """y @ [w | a], [M, out + R]: the product p and the start h of its low-rank update, as `junction` takes them.

    w [in, out] is frozen, a [in, R] is trained.
    """
    return jnp.matmul(y, _columns(y, w, a))


def _to_forward(y: jax.Array, w: jax.Array, a: jax.Array) -> tuple[jax.Array, Any]:
    return product_to(y, w, a), (y, w, a)


def _to_backward(residuals: Any, dp: jax.Array) -> tuple[jax.Array, ...]:
    y, w, a = residuals
    dy = jnp.matmul(dp, _columns(y, w, a).T)
    return dy, jnp.zeros_like(w), over_rows(y, dp[:, w.shape[1] :]).astype(a.dtype)


product_to.defvjp(_to_forward, _to_backward)


def _rows(n: jax.Array, w: jax.Array, b: jax.Array, bias: jax.Array) -> jax.Array:
    parts = [part.astype(n.dtype) for part in (w, b, bias[None])]
    rest = extended(len(w), len(b)) - sum(len(part) for part in parts)
    return jnp.concatenate([*parts, jnp.zeros((rest, w.shape[1]), n.dtype)])


def _columns(y: jax.Array, w: jax.Array, a: jax.Array) -> jax.Array:
    return jnp.concatenate([w.astype(y.dtype), a.astype(y.dtype)], axis=1)
