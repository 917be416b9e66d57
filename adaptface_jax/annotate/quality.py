"""How a face is lit and how sharp it is, from the pixels of its aligned crop."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image
from scipy import ndimage

from adaptface_jax.align.geometry import CROP_SIZE

# The face without hair and background: an ellipse around the template, half axes as fractions of the crop.
_MIDDLE, _HALF = ((CROP_SIZE - 1) / 2, 60.0), (0.34 * CROP_SIZE, 0.42 * CROP_SIZE)

# In pixels of the crop: finer detail is noise and eight-bit quantization.
_FINEST = 1.0


@dataclasses.dataclass(frozen=True)
class Quality:
    """brightness: mean luminance of the face, 0..255. contrast: its standard deviation.

    side: left half of the image against right, (l - r) / (l + r) of their mean luminances, -1..1.
    detail: variance of the Laplacian (of a Gaussian of one pixel) over the variance of the luminance, so independent
    of light and contrast; the lower, the more blurred.
    """

    brightness: float
    contrast: float
    side: float
    detail: float


def _face() -> np.ndarray:
    """bool [112, 112]."""
    y, x = np.mgrid[:CROP_SIZE, :CROP_SIZE]
    return ((x - _MIDDLE[0]) / _HALF[0]) ** 2 + ((y - _MIDDLE[1]) / _HALF[1]) ** 2 < 1


FACE = _face()
_LEFT = np.arange(CROP_SIZE) < _MIDDLE[0]


def quality_of(crop: np.ndarray, seen: np.ndarray | None = None) -> Quality:
    """The lighting and sharpness of the face in a crop, uint8 [112, 112, 3].

    seen: bool [112, 112], which pixels of the crop come from the photograph; None for all. A face outside them is
    measured on the whole crop.
    """
    luminance = np.asarray(Image.fromarray(crop).convert("L"), np.float64)
    face = FACE if seen is None else FACE & seen
    if not face[:, _LEFT].any() or not face[:, ~_LEFT].any():
        face = np.ones_like(FACE)
    inside = luminance[face]
    left, right = (luminance[:, half][face[:, half]].mean() for half in (_LEFT, ~_LEFT))
    edges = ndimage.gaussian_laplace(luminance, _FINEST)[ndimage.binary_erosion(face)]
    return Quality(
        brightness=float(inside.mean()),
        contrast=float(inside.std()),
        side=float((left - right) / max(left + right, 1.0)),
        detail=float(edges.var() / max(inside.var(), 1.0)) if edges.size else 0.0,
    )
