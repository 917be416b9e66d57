"""The traits of a generated person: numbers for the shape, and choices for skin, hair, beard and glasses."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike


def f32(values: ArrayLike) -> np.ndarray:
    """A float32 copy of `values`, as an array."""
    return np.array(values, np.float32)


# name: (mean, standard deviation), in units of half a head's height (chin -1, crown +1, eyes near 0).
SHAPE = {
    "face_width": (0.74, 0.05), "depth": (0.86, 0.05), "jaw_width": (0.74, 0.09), "jaw_start": (-0.12, 0.12),
    "crown": (1.0, 0.05), "chin_length": (0.0, 0.05), "chin_out": (0.07, 0.04), "chin_width": (0.2, 0.05),
    "eye_gap": (0.295, 0.025), "eye_y": (0.04, 0.03), "eye_width": (0.132, 0.012), "eye_height": (0.052, 0.010),
    "eye_tilt": (0.05, 0.07), "eye_depth": (0.075, 0.025), "lid": (0.5, 0.2), "iris": (0.42, 0.04),
    "brow_y": (0.165, 0.028), "brow_thick": (0.033, 0.011), "brow_arch": (0.045, 0.03), "brow_tilt": (0.03, 0.06),
    "brow_width": (0.19, 0.025), "brow_dark": (0.62, 0.2), "brow_ridge": (0.05, 0.03),
    "nose_tip": (-0.30, 0.045), "nose_out": (0.23, 0.05), "nose_bridge": (0.12, 0.035), "nose_width": (0.115, 0.022),
    "nose_root": (0.045, 0.015), "nose_hook": (0.0, 0.025), "nostril": (0.5, 0.18),
    "mouth_y": (-0.565, 0.035), "mouth_width": (0.245, 0.03), "lip_upper": (0.042, 0.014), "lip_lower": (0.058, 0.016),
    "lip_red": (0.35, 0.16), "lip_out": (0.05, 0.02), "mouth_bow": (0.35, 0.25), "mouth_curve": (0.0, 0.02),
    "cheekbone": (0.045, 0.035), "cheek_y": (-0.18, 0.05), "cheek_fat": (0.0, 0.05), "temple": (0.03, 0.025),
    "hairline": (0.60, 0.075), "hair_corner": (0.0, 0.10), "hair_volume": (0.075, 0.04), "hair_part": (0.0, 0.35),
    "ear_size": (0.075, 0.025), "blush": (0.10, 0.06), "shadow_eye": (0.16, 0.09), "fold": (0.12, 0.07),
    "skin_hue": (0.0, 0.03), "asymmetry": (0.0, 0.02), "neck_width": (0.46, 0.06),
}  # fmt: skip

SKIN_TONES = f32(
    [
        [0.90, 0.72, 0.62],
        [0.84, 0.64, 0.52],
        [0.76, 0.56, 0.43],
        [0.63, 0.44, 0.32],
        [0.48, 0.32, 0.23],
        [0.34, 0.22, 0.16],
    ]
)
HAIR_TONES = f32(
    [
        [0.07, 0.06, 0.06],
        [0.13, 0.09, 0.07],
        [0.25, 0.16, 0.10],
        [0.42, 0.28, 0.16],
        [0.68, 0.53, 0.32],
        [0.45, 0.2, 0.1],
    ]
)
EYE_TONES = f32([[0.18, 0.10, 0.06], [0.30, 0.20, 0.10], [0.30, 0.36, 0.24], [0.32, 0.44, 0.55]])
HAIR_STYLES = ("short", "crop", "fringe", "medium", "long", "bald")


@dataclasses.dataclass(frozen=True)
class Traits:
    """One person. shape: the numbers of SHAPE. Colors are linear RGB float32 [3]; strengths lie in 0..1."""

    shape: dict[str, float]
    skin: np.ndarray
    hair: np.ndarray
    eyes: np.ndarray
    hair_style: str
    beard: float
    moustache: float
    glasses: float
    glasses_tone: float
    glasses_round: float
    glasses_habit: float
    moles: np.ndarray
    grays_by: float
    texture_seed: int


def draw_traits(rng: np.random.Generator) -> Traits:
    """Draw one person; different random streams give different people."""
    shape = {name: float(mean + std * np.clip(rng.normal(), -2.3, 2.3)) for name, (mean, std) in SHAPE.items()}
    tone = rng.uniform(0, len(SKIN_TONES) - 1.001)
    low = int(tone)
    skin = SKIN_TONES[low] + (tone - low) * (SKIN_TONES[low + 1] - SKIN_TONES[low])
    skin = skin * f32([1 + shape["skin_hue"], 1, 1 - shape["skin_hue"]])
    dark = tone > 2.6
    hair = HAIR_TONES[rng.integers(0, 2 if dark else len(HAIR_TONES))] * f32(rng.uniform(0.8, 1.25))
    eyes = EYE_TONES[rng.integers(0, 2 if dark else len(EYE_TONES))] * f32(rng.uniform(0.8, 1.2))
    style = HAIR_STYLES[rng.choice(6, p=[0.26, 0.16, 0.17, 0.16, 0.17, 0.08])]
    bearded = style != "long" and rng.random() < 0.35
    return Traits(
        shape=shape,
        skin=f32(skin),
        hair=hair,
        eyes=eyes,
        hair_style=style,
        beard=float(rng.uniform(0.25, 0.95)) * (bearded and rng.random() < 0.7),
        moustache=float(rng.uniform(0.3, 0.95)) * bearded,
        glasses=float(rng.random() < 0.25),
        glasses_tone=float(rng.uniform(0.02, 0.35)),
        glasses_round=float(rng.uniform(0.0, 1.0)),
        glasses_habit=float(rng.uniform(0.75, 1.0)),
        moles=f32(rng.uniform([-0.55, -0.85, 0.012], [0.55, 0.5, 0.03], (rng.integers(0, 4), 3))),
        grays_by=float(rng.uniform(0.35, 0.95)),
        texture_seed=int(rng.integers(2**31)),
    )
