"""Distances of pairs from raw embeddings."""

from __future__ import annotations

import numpy as np

from adaptface_jax.core.errors import InputError

_ROWS = 512  # at a time: blocks that stay in the processor's cache are four times as fast as whole arrays


def pair_distances(embeddings: np.ndarray, flipped: np.ndarray | None = None) -> np.ndarray:
    """Squared Euclidean distances of unit embeddings, float64 [N] in 0..4.

    The flip test sums the raw embeddings of an image and its mirror image and normalizes the sum.

    Args: `embeddings` and `flipped` as in `verify`. Raises InputError as it does.
    """
    points = _numbers("embeddings", embeddings)
    if points.ndim != 2 or len(points) % 2 or not points.size:
        raise InputError(f"embeddings: shape {points.shape}; expected [2N, D], pair i in rows 2i and 2i + 1")
    return indexed_distances(points, np.arange(len(points)), flipped)


def indexed_distances(embeddings: np.ndarray, index: np.ndarray, flipped: np.ndarray | None = None) -> np.ndarray:
    """`pair_distances` of pairs of images that are embedded once: pair i is rows index[2i] and index[2i + 1].

    Args: embeddings: float [M, D], raw. index: int [2N]. flipped: float [M, D] or None. Raises InputError as `verify`.
    """
    units = unit_embeddings(embeddings, flipped)
    starts = range(0, len(index), _ROWS)
    return np.concatenate([_squared(units[index[start : start + _ROWS]]) for start in starts])


def unit_embeddings(embeddings: np.ndarray, flipped: np.ndarray | None = None) -> np.ndarray:
    """Raw embeddings [M, D], plus those of the mirror images if given, scaled to unit length: float64 [M, D].

    Raises InputError for non-finite values and for zero rows.
    """
    sources = {"embeddings": _numbers("embeddings", embeddings)}
    if flipped is not None:
        sources["flipped"] = _numbers("flipped", flipped)
        if sources["flipped"].shape != sources["embeddings"].shape:
            expected = sources["embeddings"].shape
            raise InputError(f"flipped: shape {sources['flipped'].shape}; expected that of the embeddings, {expected}")
    units = np.empty(sources["embeddings"].shape)
    for start in range(0, len(units), _ROWS):
        rows = slice(start, start + _ROWS)
        total = sum(points[rows].astype(np.float64) for points in sources.values())
        lengths = np.linalg.norm(total, axis=1, keepdims=True)
        if not np.isfinite(lengths).all():
            row = start + int(np.argmin(np.isfinite(lengths)))
            name = next(
                (n for n, points in sources.items() if not np.isfinite(points[row].astype(np.float64)).all()),
                "embeddings",
            )
            raise InputError(f"{name}: row {row} contains a non-finite value")
        if not lengths.all():
            row = start + int(np.argmin(lengths))
            raise InputError(f"embeddings: row {row} is zero (after the flip sum, if any), so it has no direction")
        np.divide(total, lengths, out=units[rows])
    return units


def _squared(points: np.ndarray) -> np.ndarray:
    return np.square(points[0::2] - points[1::2]).sum(axis=1)


def _numbers(name: str, values: np.ndarray) -> np.ndarray:
    """An array that float64 can hold, not yet copied to it."""
    try:
        points = np.asarray(values)
        points[:1].astype(np.float64)
    except (TypeError, ValueError, IndexError):
        raise InputError(f"{name}: not an array of numbers; expected floats of shape [2N, D]") from None
    return points
