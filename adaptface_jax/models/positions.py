"""Position embeddings resampled to another grid, as in the source of the weights.

Each axis is one small matrix, so the whole resampling is two matrix products on the host in float64.
Source: torch's `interpolate(mode="bicubic")` with and without `antialias`, reproduced to 5e-6.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.models.specs import POSITION_RULES, BackboneSpec, PositionRule


def placed(tree: Mapping[str, Any], spec: BackboneSpec, image_size: int, rule: str) -> dict[str, Any]:
    """The tree of a backbone with its position table, if it has one, resampled for images of that size.

    rule: a key of `specs.POSITION_RULES`. Errors as in `resize_positions`.
    """
    if spec.rotary:
        return dict(tree)
    grid = image_size // spec.patch_size
    positions = resize_positions(tree["pos_embed"], grid, POSITION_RULES[rule], int(spec.class_token))
    return {**tree, "pos_embed": positions}


def resize_positions(pos_embed: np.ndarray, grid: int, rule: PositionRule, first: int = 1) -> np.ndarray:
    """pos_embed [1, first + n * n, D] -> float32 [1, first + grid * grid, D].

    The `first` positions, which belong to no patch (CLS), are unchanged.

    The native grid is returned unchanged, as in every source. Raises InputError if the positions are not a square.
    """
    count, width = pos_embed.shape[1] - first, pos_embed.shape[2]
    native = math.isqrt(max(count, 0))
    if native == 0 or native * native != count:
        raise InputError(
            f"pos_embed: {count} patch positions are not a square grid; expected {first} + n * n positions"
        )
    pos_embed = np.asarray(pos_embed, np.float32)
    if grid == native:
        return pos_embed
    axis = antialiased(native, grid) if rule.antialias else _interpolated(native, grid, rule.offset)
    cells = pos_embed[0, first:].astype(np.float64).reshape(native, native, width)
    resized = np.einsum("yi,xj,ijd->yxd", axis, axis, cells, optimize=True).reshape(1, grid * grid, width)
    return np.concatenate([pos_embed[:, :first], resized.astype(np.float32)], axis=1)


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution kernel with free parameter `a`."""
    x = np.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _interpolated(native: int, grid: int, offset: float) -> np.ndarray:
    """[grid, native]: four taps of the a = -0.75 kernel; those past an edge are clamped to it."""
    matrix = np.zeros((grid, native))
    source = (np.arange(grid) + 0.5) * native / (grid + offset) - 0.5
    for tap in range(-1, 3):
        position = np.floor(source) + tap
        column = np.clip(position, 0, native - 1).astype(int)
        np.add.at(matrix, (np.arange(grid), column), _cubic(source - position, -0.75))
    return matrix


def antialiased(native: int, grid: int) -> np.ndarray:
    """[grid, native]: the a = -0.5 kernel, widened when shrinking; taps past an edge are dropped."""
    scale = native / grid
    center = (np.arange(grid) + 0.5) * scale
    matrix = _cubic((np.arange(native) + 0.5 - center[:, None]) / max(scale, 1.0), -0.5)
    return matrix / matrix.sum(axis=1, keepdims=True)
