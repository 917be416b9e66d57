"""Measurements to the words of a condition, by thresholds."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the thresholds are flags, whose help needs no images
    from adaptface_jax.annotate.measure import Measures


def threshold(default: float, doc: str) -> float:
    """A field of `Thresholds`, documented."""
    return dataclasses.field(default=default, metadata={"doc": doc})


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Where a condition begins. `turned`, `tilted` and `dark` agree best with human labels of film faces
    (benchmarks/annotation.py); one in twenty web photographs is `uneven`; about one in a hundred sharp ones is
    `blurred`, and so are three quarters of them after a blur of 1.5 pixels of the 112x112 crop (standard deviation).
    """

    turned: float = threshold(23.0, "degrees of yaw from which a pose is left or right")
    tilted: float = threshold(15.0, "degrees of pitch from which any other pose is up or down")
    dark: float = threshold(57.0, "brightness, 0..255, below which light is dark")
    uneven: float = threshold(0.25, "|side|, 0..1, from which light that is not dark is uneven")
    blurred: float = threshold(0.011, "detail below which an image is blurred")


# The columns of words, with the possible values of each in the order in which they are counted.
WORDS = {
    "pose": ("frontal", "left", "right", "up", "down"),
    "light": ("good", "dark", "uneven"),
    "sharpness": ("sharp", "blurred"),
}


def conditions(measures: Measures, limits: Thresholds) -> dict[str, str]:
    """The word for each column of WORDS; empty if unknown."""
    return {
        "pose": _pose(measures, limits),
        "light": _light(measures, limits),
        "sharpness": "blurred" if measures.detail < limits.blurred else "sharp",
    }


def _pose(measures: Measures, limits: Thresholds) -> str:
    if measures.yaw is None or measures.pitch is None:
        return ""
    if abs(measures.yaw) >= limits.turned:
        return "right" if measures.yaw < 0 else "left"
    if abs(measures.pitch) >= limits.tilted:
        return "up" if measures.pitch > 0 else "down"
    return "frontal"


def _light(measures: Measures, limits: Thresholds) -> str:
    if measures.brightness < limits.dark:
        return "dark"
    return "uneven" if abs(measures.side) >= limits.uneven else "good"
