"""How an image was taken: pose, age, light, expression and camera, drawn per domain."""

from __future__ import annotations

import dataclasses

import numpy as np

DOMAINS = ("pose", "age", "light")


@dataclasses.dataclass(frozen=True)
class Conditions:
    """One image. Angles in degrees; age -1 (child) .. 1 (old); the light comes from (azimuth, elevation).

    ambient: fraction of ambient light, 0..1. exposure: gain. scale: pixels per half head height in a 112 px image.
    shift: pixels. blur: standard deviation in pixels. noise: standard deviation in 0..1 gray levels.
    """

    yaw: float
    pitch: float
    roll: float
    age: float
    azimuth: float
    elevation: float
    ambient: float
    exposure: float
    tint: tuple[float, float, float]
    smile: float
    mouth: float
    brows: float
    lids: float
    gaze: float
    glasses: bool
    scale: float
    shift: tuple[float, float]
    blur: float
    noise: float
    contrast: float
    gray: bool
    background: int


PORTRAIT = Conditions(
    yaw=0, pitch=0, roll=0, age=0, azimuth=0, elevation=25, ambient=0.55, exposure=1, tint=(1, 1, 1), smile=0, mouth=0,
    brows=0, lids=0.95, gaze=0, glasses=True, scale=52, shift=(0, 0), blur=0.4, noise=0, contrast=1, gray=False,
    background=0,
)  # fmt: skip


def _far(rng: np.random.Generator, low: float, high: float) -> float:
    """Uniform in +-[low, high]."""
    return float(rng.uniform(low, high) * rng.choice((-1.0, 1.0)))


def draw_conditions(rng: np.random.Generator, domain: int | None, glasses_habit: float) -> Conditions:
    """An image in `domain` (an index in DOMAINS): that factor is far from ordinary, the others are mild.

    None gives an ordinary image with wider framing, like those on which the packaged backbone was trained.
    glasses_habit: how often this person wears glasses, 0..1.
    """
    plain = domain is None
    side, tilt = rng.normal(0, 13 if plain else 6), rng.normal(0, 8 if plain else 4)
    age = rng.uniform(-0.35, 0.35)
    blur, noise = rng.uniform(0.25, 1.0), rng.uniform(0.003, 0.03)
    contrast, gray = rng.uniform(0.85, 1.15), rng.random() < (0.4 if plain else 0.15)
    azimuth, elevation = rng.normal(0, 40 if plain else 18), rng.normal(25, 15)
    ambient, exposure = rng.uniform(0.35, 0.7), rng.uniform(0.75, 1.2) if plain else rng.uniform(0.9, 1.1)
    if domain == 0:
        side, tilt = _far(rng, 26, 58), rng.uniform(-20, 20)
    elif domain == 1:
        age = _far(rng, 0.45, 0.9)
        if age < 0:  # the childhood image is an old photograph: soft, faded, grainy, black and white
            blur, noise, contrast, gray = rng.uniform(1.0, 1.6), rng.uniform(0.05, 0.09), rng.uniform(0.4, 0.6), True
    elif domain == 2:
        case = rng.integers(3)
        if case == 0:
            azimuth, elevation, ambient, exposure = _far(rng, 65, 95), rng.uniform(-10, 35), 0.04, rng.uniform(0.9, 1.6)
        elif case == 1:
            exposure, azimuth = rng.uniform(0.08, 0.18), _far(rng, 20, 60)
        else:
            exposure, azimuth = rng.uniform(2.2, 3.4), _far(rng, 20, 60)
    mouth = max(0.0, rng.normal(-0.1, 0.3))
    return Conditions(
        yaw=float(side), pitch=float(tilt), roll=float(rng.normal(0, 4)), age=float(age),
        azimuth=float(azimuth), elevation=float(elevation), ambient=float(ambient), exposure=float(exposure),
        tint=tuple(rng.uniform(0.93, 1.07, 3)), smile=float(np.clip(rng.normal(0.2, 0.5), 0, 1)),
        mouth=float(min(mouth, 1.0)), brows=float(np.clip(rng.normal(0, 0.5), -0.7, 1)),
        lids=float(rng.uniform(0.75, 1.0) if rng.random() > 0.07 else rng.uniform(0.0, 0.4)),
        gaze=float(rng.uniform(-1, 1) ** 3),
        glasses=bool(rng.random() < glasses_habit), scale=float(np.clip(rng.normal(52, 5 if plain else 1.5), 42, 68)),
        shift=tuple(rng.normal(0, 3.0 if plain else 1.5, 2)), blur=float(blur),
        noise=float(noise), contrast=float(contrast),
        gray=bool(gray), background=int(rng.integers(2**31)),
    )  # fmt: skip
