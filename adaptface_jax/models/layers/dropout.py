# SPDX-License-Identifier: Apache-2.0
"""Dropout with an explicit key."""

from __future__ import annotations

import jax


def dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Features [B, C]: each is zero with probability `rate`, or divided by 1 - rate; without a key x itself.

    Images [B, H, W, C] lose whole channels (torch.nn.Dropout2d).
    """
    if key is None or rate == 0.0:
        return x
    shape = (x.shape[0], *(1,) * (x.ndim - 2), x.shape[-1])
    return jax.numpy.where(jax.random.bernoulli(key, 1 - rate, shape), x / (1 - rate), 0)
