"""The colors of a head: layers that belong to the person, and the eyes, mouth and glasses painted per image."""

from __future__ import annotations

import dataclasses

import numpy as np

from adaptface_jax.data.synthetic_faces.head import COLUMNS, LONGITUDE, ROWS, Surface, bump, ramp
from adaptface_jax.data.synthetic_faces.traits import Traits, f32

GRAY_HAIR = f32([0.74, 0.73, 0.72])


@dataclasses.dataclass(frozen=True)
class Layers:
    """Per point of the surface, flattened [P = ROWS*COLUMNS]: base skin color [P, 3], masks in 0..1 [P] and, for the
    eye and mouth regions, the indices of their points with face coordinates."""

    skin: np.ndarray
    hair: np.ndarray
    streaks: np.ndarray
    beard: np.ndarray
    brows: np.ndarray
    wrinkles: np.ndarray
    spots: np.ndarray
    eye_points: tuple[np.ndarray, np.ndarray, np.ndarray]
    mouth_points: tuple[np.ndarray, np.ndarray, np.ndarray]


def smooth_noise(rng: np.random.Generator, rows: int, columns: int, cells: tuple[int, int]) -> np.ndarray:
    """Random values on a coarse grid of `cells`, bilinearly enlarged: float32 [rows, columns], deviation ~ 1."""
    coarse = rng.standard_normal((cells[0] + 1, cells[1] + 1), np.float32)

    def axis(size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        at = np.linspace(0, count, size, endpoint=False, dtype=np.float32)
        low = at.astype(int)
        return low, at - low

    (r, fr), (c, fc) = axis(rows, cells[0]), axis(columns, cells[1])
    tall = coarse[r] * (1 - fr)[:, None] + coarse[r + 1] * fr[:, None]
    return (tall[:, c] * (1 - fc) + tall[:, c + 1] * fc) * f32(1.5)


def _wrinkle_map(traits: Traits, rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Forehead lines, crow's feet, bags and the folds next to nose and mouth: how much each darkens old skin."""
    s, ax = traits.shape, np.abs(x)
    brow = s["eye_y"] + s["brow_y"]
    lines = np.zeros_like(x)
    for row in range(3):
        at = brow + 0.12 + 0.085 * row + rng.uniform(-0.015, 0.015) + 0.03 * np.cos(4 * x + rng.uniform(0, 6))
        lines += rng.uniform(0.5, 1.0) * np.exp(-0.5 * ((y - at) / 0.014) ** 2) * ramp(ax, 0.45, 0.25)
    for slope in (-0.5, 0.0, 0.5):
        at = s["eye_y"] + slope * (ax - s["eye_gap"] - 0.12)
        lines += 0.7 * np.exp(-0.5 * ((y - at) / 0.012) ** 2) * bump(ax, ax, s["eye_gap"] + 0.2, 0, 0.05, 9e9)
    bag = s["eye_y"] - 0.10 + 0.6 * (ax - s["eye_gap"]) ** 2
    lines += 0.8 * np.exp(-0.5 * ((y - bag) / 0.018) ** 2) * bump(ax, ax, s["eye_gap"], 0, 0.09, 9e9)
    fold = 0.12 + (s["mouth_width"] - 0.06) * ramp(y, s["nose_tip"] + 0.02, s["mouth_y"] - 0.06)
    band = ramp(y, s["mouth_y"] - 0.22, s["mouth_y"] - 0.05) * ramp(y, s["nose_tip"] + 0.06, s["nose_tip"] - 0.04)
    lines += 1.0 * np.exp(-0.5 * ((ax - fold) / 0.020) ** 2) * band
    lines += 0.6 * np.exp(-0.5 * ((ax - 0.03) / 0.014) ** 2) * bump(y, y, brow + 0.01, 0, 0.05, 9e9)
    return np.clip(lines, 0, 1.2)


def build_layers(traits: Traits, surface: Surface) -> Layers:
    """Everything in the coloring that does not change from image to image."""
    rng = np.random.default_rng(traits.texture_seed)
    s = traits.shape
    x, y = surface.points[..., 0], surface.points[..., 1]
    ax, front = np.abs(x), ramp(np.cos(LONGITUDE), 0.0, 0.4)
    tone = 1 + 0.035 * smooth_noise(rng, ROWS, COLUMNS, (7, 7)) + 0.02 * smooth_noise(rng, ROWS, COLUMNS, (30, 30))
    skin = traits.skin * tone[..., None]
    blush = s["blush"] * (bump(ax, y, 0.38, -0.22, 0.15, 0.13) + 0.7 * bump(x, y, 0, s["nose_tip"], 0.1, 0.08)) * front
    skin = skin * (1 + blush[..., None] * f32([0.5, -0.9, -0.9]))
    dark = s["shadow_eye"] * bump(ax, y, s["eye_gap"] - 0.02, s["eye_y"] - 0.07, 0.10, 0.035)
    dark += 0.30 * bump(ax, y, s["eye_gap"] - 0.03, s["eye_y"] + 0.07, 0.13, 0.035)
    dark += s["nostril"] * bump(ax, y, s["nose_width"] * 0.52, s["nose_tip"] - 0.055, 0.030, 0.018)
    dark += 0.28 * bump(x, y, 0, s["nose_tip"] - 0.075, s["nose_width"], 0.025)
    dark += 0.20 * bump(ax, y, s["nose_width"] * 1.25, s["nose_tip"], 0.02, 0.05)
    dark += 0.22 * bump(x, y, 0, s["mouth_y"] - s["lip_lower"] - 0.035, 0.12, 0.02)
    dark += s["fold"] * bump(ax, y, s["mouth_width"] * 0.85, s["mouth_y"] + 0.12, 0.03, 0.10)
    dark += 0.35 * ramp(y, -0.86, -1.0) + 0.25 * ramp(np.abs(LONGITUDE), 1.25, 1.7)
    for mx, my, size in traits.moles:
        dark += 0.65 * bump(x, y, mx, my, size, size)
    skin = skin * np.clip(1 - dark, 0.15, 1.2)[..., None]

    hair = surface.hair
    edge = ramp(hair + 1.6 * hair * (1 - hair) * smooth_noise(rng, ROWS, COLUMNS, (40, 60)), 0.3, 0.7)
    streaks = 1 + 0.20 * smooth_noise(rng, ROWS, COLUMNS, (9, 60)) + 0.22 * smooth_noise(rng, ROWS, COLUMNS, (12, 16))
    chin = ramp(y, -0.40, -0.62) + ramp(np.abs(LONGITUDE), 0.75, 1.0) * ramp(y, -0.05, -0.3)
    around = 1 - bump(x, y, 0, s["mouth_y"] - 0.02, s["mouth_width"] * 0.9, 0.05)
    beard = traits.beard * np.clip(chin, 0, 1) * around * ramp(np.abs(LONGITUDE), 1.35, 1.15)
    upper = (s["nose_tip"] + s["mouth_y"]) / 2 - 0.03
    moustache = traits.moustache * bump(x, y, 0, upper, s["mouth_width"] * 0.75, 0.045)
    beard = np.clip(np.maximum(beard, moustache), 0, 1) * (0.85 + 0.2 * smooth_noise(rng, ROWS, COLUMNS, (50, 50)))

    u = (ax - s["eye_gap"]) / s["brow_width"]
    middle = s["eye_y"] + s["brow_y"] + s["brow_arch"] * (1 - (u - 0.25) ** 2) - 0.02 + s["brow_tilt"] * u * 0.5
    thick = s["brow_thick"] * np.clip(1.15 - 0.45 * (u + 0.3), 0.4, 1.3)
    brows = s["brow_dark"] * np.exp(-(((y - middle) / thick) ** 4)) * ramp(np.abs(u), 1.05, 0.8)
    brows = np.clip(brows, 0, 1) * (0.9 + 0.15 * smooth_noise(rng, ROWS, COLUMNS, (60, 60)))

    def region(cx: float, cy: float, rx: float, ry: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        inside = np.flatnonzero((np.abs(x - cx) < rx) & (np.abs(y - cy) < ry) & (np.cos(LONGITUDE) > 0))
        return inside, x.ravel()[inside], y.ravel()[inside]

    spots = np.clip(smooth_noise(rng, ROWS, COLUMNS, (26, 26)) - 1.6, 0, 1) * front
    hair, streaks, beard, brows = (f32(np.clip(a, 0, 1.3)).ravel() for a in (edge, streaks, beard, brows))
    return Layers(
        skin=f32(skin).reshape(-1, 3),
        hair=hair,
        streaks=streaks,
        beard=beard,
        brows=brows,
        wrinkles=f32(_wrinkle_map(traits, rng, x, y) * front).ravel(),
        spots=f32(spots).ravel(),
        eye_points=region(0, s["eye_y"], 0.66, 0.30),
        mouth_points=region(0, s["mouth_y"], 0.5, 0.3),
    )


def _mix(colors: np.ndarray, other: np.ndarray | float | list[float], amount: np.ndarray) -> None:
    """Blend `other` into colors [N, 3] in place; amount in 0..1 per point."""
    colors += (f32(other) - colors) * f32(amount)[:, None]


def paint(
    traits: Traits, layers: Layers, *, age: float, smile: float, mouth: float, lids: float, gaze: float, glasses: bool
) -> np.ndarray:
    """The albedo of one image, float32 [P, 3].

    age: -1 a child .. 0 .. 1 old. smile, mouth (opening): 0..1. lids: 1 open, 0 closed. gaze: -1..1.
    """
    s = traits.shape
    old, young = max(age, 0.0), max(-age, 0.0)
    gray = float(np.clip((old - 0.5 * traits.grays_by) / 0.45, 0, 1))
    hair = traits.hair + (GRAY_HAIR - traits.hair) * f32(gray)
    hair = hair + f32(0.06 * young)
    crease = (0.05 + 0.48 * old) * layers.wrinkles
    crease = crease + (0.20 * old) * layers.spots
    colors = layers.skin * (1 - crease)[:, None]
    pale = f32([1 - 0.02 * old, 1 + 0.03 * young - 0.03 * old, 1 + 0.04 * young - 0.06 * old])
    colors *= pale
    beard = layers.beard * (np.clip(1 - 2.2 * young, 0, 1) * 0.85)
    colors += (hair * 0.9 - colors) * beard[:, None]
    colors += (hair * f32(0.8) - colors) * (layers.brows * (1 - 0.35 * old - 0.2 * young))[:, None]
    thin = layers.hair * f32(1 - 0.35 * old * (traits.hair_style in ("short", "crop")))
    colors += (hair * layers.streaks[:, None] - colors) * thin[:, None]

    at, x, y = layers.eye_points
    region = colors[at]
    wide, high = s["eye_width"] * (1 + 0.10 * young), s["eye_height"] * (1 + 0.25 * young - 0.15 * old)
    u = (np.abs(x) - s["eye_gap"]) / wide
    v = (y - s["eye_y"] - s["eye_tilt"] * 0.5 * u * wide) / high
    shape = np.clip(1 - u * u, 0, 1)
    top, bottom = shape ** (0.5 + 0.4 * s["lid"]) * (0.15 + 1.0 * lids) - 0.15, -0.75 * shape
    inside = np.clip((top - v) * 3 + 0.5, 0, 1) * np.clip((v - bottom) * 3 + 0.5, 0, 1) * (np.abs(u) < 1)
    _mix(region, [0.80, 0.77, 0.75], inside * 0.92)
    radius = np.hypot(u * wide - gaze * np.sign(x) * 0.4 * wide, (v - 0.1) * high)
    iris = s["iris"] * s["eye_width"]
    _mix(region, traits.eyes, inside * ramp(radius, iris * 1.1, iris * 0.85))
    _mix(region, 0.02, inside * ramp(radius, iris * 0.6, iris * 0.4))
    line = np.exp(-0.5 * ((v - top) * high / 0.013) ** 2) * ramp(np.abs(u), 1.15, 0.95)
    _mix(region, 0.06, 0.85 * line)
    _mix(region, traits.skin * 0.4, 0.4 * np.exp(-0.5 * ((v - bottom) * high / 0.010) ** 2) * (np.abs(u) < 1))
    fold = np.exp(-0.5 * ((v - top - 0.6) * high / 0.013) ** 2) * ramp(np.abs(u), 1.2, 0.9)
    _mix(region, traits.skin * 0.45, (0.25 + 0.5 * s["lid"]) * fold)

    if glasses:
        rim = s["eye_width"] * 1.5
        gx, gy = (np.abs(x) - s["eye_gap"] - 0.01) / rim, (y - s["eye_y"] + 0.01) / (rim * 0.78)
        power = 2 + 3 * (1 - traits.glasses_round)
        ring = (np.abs(gx) ** power + np.abs(gy) ** power) ** (1 / power)
        frame = np.exp(-0.5 * ((ring - 1) / 0.085) ** 2)
        bar = np.exp(-0.5 * ((y - s["eye_y"] - 0.03) / 0.018) ** 2)
        bar = bar * ((np.abs(x) < s["eye_gap"] - rim + 0.02) | (np.abs(x) > s["eye_gap"] + rim))
        _mix(region, 0.9, 0.10 * (ring < 1))
        _mix(region, traits.glasses_tone, np.clip(0.95 * frame + bar, 0, 0.95))
    colors[at] = region

    at, x, y = layers.mouth_points
    region = colors[at]
    u = x / (s["mouth_width"] * (1 + 0.14 * smile))
    shape = np.clip(1 - u * u, 0, 1)
    v = y - s["mouth_y"] - s["mouth_curve"] * u * u
    gap = (0.010 + 0.075 * mouth + 0.03 * smile * (mouth > 0.15)) * shape**0.7
    bow = 1 - s["mouth_bow"] * np.exp(-0.5 * (u / 0.14) ** 2)
    upper, lower = gap * 0.4 + s["lip_upper"] * shape**0.7 * bow, -gap * 0.9 - s["lip_lower"] * shape**0.6
    lips = np.clip((upper - v) / 0.012 + 0.5, 0, 1) * np.clip((v - lower) / 0.012 + 0.5, 0, 1) * (np.abs(u) < 1)
    red = traits.skin * f32([0.92, 0.60, 0.60]) + f32([0.05, 0, 0.01])
    _mix(region, red * (1 - 0.15 * old), lips * (0.25 + s["lip_red"]))
    _mix(region, traits.skin * f32([0.8, 0.45, 0.45]), 0.25 * lips * (v > 0))
    hole = np.clip((gap * 0.4 - v) / 0.010 + 0.5, 0, 1) * np.clip((v + gap * 0.9) / 0.010 + 0.5, 0, 1) * (np.abs(u) < 1)
    _mix(region, [0.16, 0.06, 0.06], 0.8 * hole)
    teeth = hole * np.clip((v + gap * 0.25) / 0.015 + 0.3, 0, 1) * (gap > 0.035)
    _mix(region, [0.82, 0.80, 0.74], 0.85 * teeth)
    colors[at] = region
    return np.clip(colors, 0, 1)
