"""Projects' image statistics converted to ours: mean and standard deviation of channels in [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import quoted
from adaptface_jax.models.specs import ImageStats

_WHITE = 255


def image_statistics(where: object, key: str, mean: Any, std: Any) -> ImageStats:
    """One number stands for three. Raises InputError unless all are finite and the deviations above zero."""
    try:
        (m0, m1, m2), (s0, s1, s2) = (_three(values) for values in (mean, std))
        stats = ImageStats((m0, m1, m2), (s0, s1, s2))
        valid = bool(np.isfinite((*stats.mean, *stats.std)).all()) and min(stats.std) > 0
    except (TypeError, ValueError, OverflowError):
        valid = False
    if not valid:
        raise InputError(
            f"{where}: {key} is mean {quoted(mean)}, std {quoted(std)}; expected mean and std of three channels"
        )
    return stats


def given_statistics(where: Path, key: str, settings: Mapping[str, Any]) -> ImageStats | None:
    """`mean` and `std` in settings, on a 0 to 1 scale; None if both are missing.

    Raises InputError if they are not statistics, or on a 0 to 255 scale.
    """
    mean, std = settings.get("mean"), settings.get("std")
    if mean is None and std is None:
        return None
    stats = image_statistics(where, key, mean, std)
    if max(stats.std) > 2:  # for values in [0, 1] no deviation exceeds 0.5
        raise InputError(
            f"{where}: {key} is mean {quoted(mean)}, std {quoted(std)}, on a 0 to 255 scale, but this project "
            "applies them on a 0 to 1 scale; set them when converting: --mean and --std"
        )
    return stats


def rescaled(stats: ImageStats | None, factor: float) -> ImageStats:
    """The statistics with which (x / 255 - mean) / std is (x * factor - stats.mean) / stats.std, or just x * factor.

    x: bytes. Exact to the 12 digits that are kept.
    """
    mean, std = (stats.mean, stats.std) if stats else ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    scale = factor * _WHITE
    if abs(scale - 1) < 1e-9:
        return ImageStats(mean, std)
    (m0, m1, m2), (s0, s1, s2) = ([float(f"{x / scale:.12g}") for x in values] for values in (mean, std))
    return ImageStats((m0, m1, m2), (s0, s1, s2))


def _three(values: Any) -> list[float]:
    if isinstance(values, bool | str):
        raise TypeError
    return [float(values)] * 3 if isinstance(values, int | float) else [_number(value) for value in values]


def _number(value: Any) -> float:
    if isinstance(value, bool | str):
        raise TypeError
    return float(value)
