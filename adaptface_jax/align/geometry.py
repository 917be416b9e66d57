"""The best-fitting similarity transform from five landmarks to the template of the published face datasets."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from adaptface_jax.core.errors import InputError

CROP_SIZE = 112

# Where InsightFace's 112x112 crops (and so LFW, CFP-FP, AgeDB-30 ... as .bin packs) have the eye on the left of the
# image, the eye on the right, the tip of the nose and the corners of the mouth; (x, y), pixel centers at integers.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation, scale and translation, float64 [2, 3], that map `source` to `target` in the least-squares sense.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", 1991; no reflection.

    Args: both float [N, 2], (x, y), finite, N at least 2.
    Raises InputError if the source points coincide, or mirror the target so that no such transform exists.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    # In the plane, the best rotation and scale is the complex number sum(conj(s) t) / sum(|s|^2): no SVD is needed.
    centered = (source - source_mean) @ np.array([1, 1j])
    wanted = (target - target_mean) @ np.array([1, 1j])
    spread = float(np.square(np.abs(centered)).sum())
    turn = complex((centered.conj() * wanted).sum())
    if not (math.isfinite(spread) and spread > 0 and abs(turn) > 1e-12 * spread):
        raise InputError("landmarks: all at one point; expected five distinct points on a face")
    turn /= spread
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([linear, target_mean - linear @ source_mean])


def moved(points: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Points, float [N, 2], after a transform [2, 3]."""
    return points @ transform[:, :2].T + transform[:, 2]


def inverse(transform: np.ndarray) -> np.ndarray:
    """The transform [2, 3] that undoes this one."""
    linear = np.linalg.inv(transform[:, :2])
    return np.column_stack([linear, -linear @ transform[:, 2]])


def warp(image: np.ndarray, transform: np.ndarray, size: int = CROP_SIZE) -> np.ndarray:
    """The `size` x `size` view of an image after a similarity transform of its pixels; bicubic, black outside.

    Args:
      image: uint8 [H, W, 3]. transform: float [2, 3], from (x, y) in the image to the view, pixel centers at
        integers. A face larger than the view is first reduced by averaging, to avoid aliasing.
    Returns: uint8 [size, size, 3].
    """
    height, width = image.shape[:2]
    back = inverse(transform)
    # Only pixels the view shows (and those bicubic reads around them) are touched: a photograph may have 64 million.
    corners = moved(np.array([[0.0, 0.0], [size, 0], [0, size], [size, size]]), back)
    shrink = max(1, int(math.sqrt(abs(np.linalg.det(back[:, :2])))))
    margin = 3 * shrink
    left, top = np.floor(np.maximum(corners.min(axis=0) - margin, 0)).astype(int)
    right, bottom = np.ceil(np.minimum(corners.max(axis=0) + margin, [width, height])).astype(int)
    if left >= right or top >= bottom:
        return np.zeros((size, size, 3), np.uint8)
    seen = Image.fromarray(image[top:bottom, left:right])
    if shrink > 1:
        seen = seen.reduce(shrink)
    # Pillow's coordinates have pixel corners at integers: half a pixel off from the landmarks'.
    linear = back[:, :2]
    shift = back[:, 2] + 0.5 - linear @ [0.5, 0.5] - [left, top]
    data = np.column_stack([linear, shift]) / shrink
    view = seen.transform((size, size), Image.Transform.AFFINE, tuple(data.ravel()), Image.Resampling.BICUBIC)
    return np.asarray(view)
