"""Single-precision arrays: what the renderer computes in."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def f32(values: ArrayLike) -> np.ndarray:
    """A float32 copy of `values`, as an array."""
    return np.array(values, np.float32)
