"""Rotary positions: queries and keys are rotated by the position of their patch, instead of a table added to tokens.

Feature i of a head and feature i + d/2 are a pair that is rotated; the first d/4 pairs rotate with the row, the others
with the column. Centers of patches are in -1 to 1, so any grid spans the same angles. Source: DINOv3
(arXiv 2508.10104), without the shifts and scalings of its training; RoPE (arXiv 2104.09864).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

BASE = 100.0


class Rotation(NamedTuple):
    """cos, sin: float32 [grid * grid, d], of the patches; the tokens before them are not rotated."""

    cos: np.ndarray
    sin: np.ndarray

    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, T, heads, d] -> the same, its last grid * grid tokens rotated in float32."""
        before = x.shape[1] - len(self.cos)
        patches = x[:, before:].astype(jnp.float32)
        first, second = jnp.split(patches, 2, axis=-1)
        turned = patches * self.cos[:, None] + jnp.concatenate([-second, first], axis=-1) * self.sin[:, None]
        return jnp.concatenate([x[:, :before], turned.astype(x.dtype)], axis=1)


def rotation(grid: int, head_dim: int) -> Rotation:
    """The rotation for a square grid of patches; head_dim is a multiple of 4."""
    centers = 2 * (np.arange(grid) + 0.5) / grid - 1
    places = np.stack(np.meshgrid(centers, centers, indexing="ij"), axis=-1).reshape(grid * grid, 2, 1)
    angles = 2 * np.pi * places * BASE ** -np.arange(0, 1, 4 / head_dim)
    angles = np.tile(angles.reshape(grid * grid, head_dim // 2), 2)
    return Rotation(np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32))
