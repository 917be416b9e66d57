"""How one tensor in a file becomes one leaf of our tree (or a slice of it), and back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Transform:
    """shape: our shape -> the file's. inward: (tensor, our shape) -> leaf. outward: leaf -> tensor."""

    shape: Callable[[Shape], Shape]
    inward: Callable[[np.ndarray, Shape], np.ndarray]
    outward: Callable[[np.ndarray], np.ndarray]


def _without_leading_ones(shape: Shape) -> Shape:
    first = next((i for i, size in enumerate(shape) if size != 1), len(shape))
    return shape[first:]


def _convolution(shape: Shape) -> Shape:
    rows, width = shape
    patch = math.isqrt(rows // 3)
    return width, 3, patch, patch


SAME = Transform(lambda shape: shape, lambda x, shape: x, lambda x: x)

# torch.nn.Linear stores [out, in].
TRANSPOSED = Transform(lambda shape: shape[::-1], lambda x, shape: x.T, lambda x: x.T)

# [D] and [N, D] in the file, [1, 1, D] and [1, N, D] here.
SQUEEZED = Transform(
    _without_leading_ones, lambda x, shape: x.reshape(shape), lambda x: x.reshape(_without_leading_ones(x.shape))
)

# A convolution kernel [D, 3, p, p] whose stride is its size is a matrix over flattened patches [p * p * 3, D].
PATCHES = Transform(
    _convolution,
    lambda x, shape: x.transpose(2, 3, 1, 0).reshape(shape),
    lambda x: x.reshape(*_convolution(x.shape)[2:], 3, -1).transpose(3, 2, 0, 1),
)

# A bias of queries, keys and values of which only the first and the last third matter: the middle one is masked.
WITHOUT_KEY = Transform(
    lambda shape: (*shape[:-1], shape[-1] // 2 * 3),
    lambda x, shape: np.concatenate(np.split(x, 3, axis=-1)[::2], axis=-1),
    lambda x: np.insert(x, [x.shape[-1] // 2] * (x.shape[-1] // 2), 0, axis=-1),
)

# With registers, timm stores no position for CLS: it is already in cls_token, so ours is zero.
WITHOUT_CLS = Transform(
    lambda shape: (shape[0], shape[1] - 1, *shape[2:]),
    lambda x, shape: np.concatenate([np.zeros_like(x[:, :1]), x], axis=1),
    lambda x: x[:, 1:],
)
