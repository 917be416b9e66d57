"""The surface of a head: a grid of points on a deformed ellipsoid, and how it deforms with expression and age."""

from __future__ import annotations

import dataclasses

import numpy as np

from adaptface_jax.data.synthetic_faces.traits import Traits, f32

ROWS, COLUMNS = 152, 150
MOVES = ("smile", "open", "brows", "old", "young")


def _directions() -> tuple[np.ndarray, np.ndarray]:
    """Angles of the grid, float32 [ROWS, COLUMNS]: longitude (0 = forward) and latitude, denser in front."""
    t = np.linspace(-1, 1, COLUMNS)
    longitude = np.deg2rad(118) * (0.85 * t + 0.15 * t**3)
    latitude = np.deg2rad(np.linspace(86, -80, ROWS))
    return tuple(f32(a) for a in np.meshgrid(longitude, latitude))  # type: ignore[return-value]


LONGITUDE, LATITUDE = _directions()


def bump(x: np.ndarray, y: np.ndarray, cx: float, cy: float, sx: float, sy: float) -> np.ndarray:
    """A Gaussian of height 1 at (cx, cy)."""
    return np.exp(-0.5 * (((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2))


def ramp(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high` (or vice versa), smooth in between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


@dataclasses.dataclass(frozen=True)
class Surface:
    """points: float32 [ROWS, COLUMNS, 3], x right, y up, z to the viewer. moves: float32 [len(MOVES), ROWS*COLUMNS*3].
    hair: float32 [ROWS, COLUMNS], where hair grows, 0..1."""

    points: np.ndarray
    moves: np.ndarray
    hair: np.ndarray


def hair_mask(traits: Traits, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where hair grows, 0..1, by style, hairline and the side of the part."""
    s, angle = traits.shape, np.abs(LONGITUDE)
    rng = np.random.default_rng(traits.texture_seed)
    waves = rng.uniform(0, 6.3, 3)
    ragged = 0.035 * np.sin(7 * x + waves[0]) + 0.03 * np.sin(17 * x + waves[1]) + 0.02 * np.sin(41 * x + waves[2])
    line = s["hairline"] + ragged - 0.45 * np.abs(x) ** 2 + s["hair_corner"] * bump(np.abs(x), y, 0.35, 0.6, 0.12, 9.0)
    if traits.hair_style == "fringe":
        line = line - 0.20 - 0.12 * np.tanh(3 * (x * np.sign(s["hair_part"]) + 0.1)) + ragged
    elif traits.hair_style in ("medium", "long"):
        line = line - 0.10 * bump(x, y, np.sign(s["hair_part"]) * 0.45, 0.5, 0.25, 9.0)
    top = ramp(y - line, -0.02, 0.05)
    edge, bottom = {"long": (0.98, -2.0), "medium": (1.05, -0.55), "crop": (1.35, 0.02)}.get(
        traits.hair_style, (1.18, -0.1)
    )
    sides = ramp(angle, edge, edge + 0.15) * ramp(y, bottom - 0.05, bottom + 0.05)
    if traits.hair_style == "bald":
        top = top * 0.0
        sides = sides * ramp(y, 0.45, 0.3)
    return f32(np.maximum(top, sides))


def build_surface(traits: Traits) -> Surface:
    """The neutral adult surface of `traits` with its expression and age moves."""
    s = traits.shape
    ring = np.cos(LATITUDE) ** np.where(LATITUDE > 0, 0.75, 0.6)
    y = np.sin(LATITUDE) * np.where(LATITUDE > 0, s["crown"], 1 - s["chin_length"])
    lower = ramp(y, s["jaw_start"], -0.95)
    width = s["face_width"] * (1 - (1 - s["jaw_width"]) * lower) * (1 - s["temple"] * ramp(y, 0.2, 0.7))
    x = width * ring * np.sin(LONGITUDE)
    z = s["depth"] * ring * np.sign(np.cos(LONGITUDE)) * np.abs(np.cos(LONGITUDE)) ** 0.85
    z = z - 0.10 * lower * (np.cos(LONGITUDE) > 0)
    front = ramp(np.cos(LONGITUDE), 0.05, 0.5)

    def pair(cx: float, cy: float, sx: float, sy: float) -> np.ndarray:
        return bump(np.abs(x), y, cx, cy, sx, sy)

    tip, root, width_n = s["nose_tip"], s["eye_y"] + 0.06, s["nose_width"]
    along = np.clip((root - y) / (root - tip), 0, 1.0)
    profile = (s["nose_bridge"] + (s["nose_out"] - s["nose_bridge"]) * along**1.5) * ramp(y, tip - 0.11, tip - 0.01)
    profile = profile * ramp(y, root + 0.12, root - 0.08) + s["nose_hook"] * bump(y, y, (tip + root) / 2, 0, 0.08, 9e9)
    ridge = np.exp(-0.5 * (x / (s["nose_root"] + 0.022 * along)) ** 2)
    lift = profile * ridge
    lift += 0.5 * s["nose_out"] * pair(width_n * 0.8, tip - 0.02, width_n * 0.32, 0.055)
    lift += 0.25 * s["nose_out"] * bump(x, y, 0, tip + 0.01, width_n * 0.5, 0.06)
    lift -= s["eye_depth"] * pair(s["eye_gap"], s["eye_y"] + 0.02, 0.12, 0.085)
    lift += 0.045 * pair(s["eye_gap"], s["eye_y"], s["eye_width"] * 0.75, s["eye_height"] * 1.5)
    lift += s["brow_ridge"] * pair(s["eye_gap"] * 0.9, s["eye_y"] + s["brow_y"], 0.16, 0.05)
    lift += s["cheekbone"] * pair(0.43, s["cheek_y"], 0.13, 0.12)
    lift += (s["cheek_fat"] - 0.02) * pair(0.36, -0.45, 0.16, 0.16)
    lift += s["chin_out"] * bump(x, y, 0, -0.86, s["chin_width"], 0.10)
    lift -= 0.035 * bump(x, y, 0, -0.72, 0.2, 0.04)
    lift += s["lip_out"] * bump(x, y, 0, s["mouth_y"] + 0.03, s["mouth_width"] * 0.7, 0.035)
    lift += s["lip_out"] * bump(x, y, 0, s["mouth_y"] - 0.04, s["mouth_width"] * 0.6, 0.04)
    lift -= 0.25 * s["fold"] * pair(s["mouth_width"] + 0.03, s["mouth_y"] + 0.12, 0.035, 0.10)
    z = z + front * lift

    ears = np.exp(-(((np.abs(LONGITUDE) - 1.6) / 0.13) ** 4) - ((y + 0.03) / 0.19) ** 4) * (
        traits.hair_style not in ("long", "medium")
    )
    x = x + np.sign(x) * s["ear_size"] * ears
    hair = hair_mask(traits, x, y) * (1 - 0.9 * ears)
    thick = (
        hair * s["hair_volume"] * {"bald": 0.1, "crop": 0.35, "long": 1.4, "medium": 1.3}.get(traits.hair_style, 1.0)
    )
    for axis in (0, 0, 1, 1):  # a soft edge: a step would tear the surface
        thick = (np.roll(thick, 2, axis) + thick + np.roll(thick, -2, axis)) / 3
    points = np.stack([x * (1 + thick), y + thick * ramp(y, 0.3, 1.0), z * (1 + 0.6 * thick)], -1)
    points[..., 0] += s["asymmetry"] * bump(x, y, 0, -0.5, 9.0, 0.4)

    moves = np.zeros((len(MOVES), ROWS, COLUMNS, 3), np.float32)
    side = np.tanh(x / 0.08)
    corner = pair(s["mouth_width"], s["mouth_y"], 0.13, 0.12) * front
    cheek = pair(0.4, -0.28, 0.14, 0.11) * front
    moves[0, ..., 0], moves[0, ..., 1], moves[0, ..., 2] = (
        side * 0.05 * corner,
        0.07 * corner + 0.03 * cheek,
        0.05 * cheek,
    )
    jaw = ramp(y, s["mouth_y"] + 0.02, s["mouth_y"] - 0.06) * front
    moves[1, ..., 1], moves[1, ..., 2] = -0.11 * jaw, -0.03 * jaw
    moves[2, ..., 1] = 0.06 * pair(s["eye_gap"], s["eye_y"] + s["brow_y"], 0.2, 0.1) * front
    jowl = pair(0.40, -0.68, 0.12, 0.12) * front
    hollow = pair(0.42, -0.38, 0.12, 0.12) * front
    moves[3, ..., 0], moves[3, ..., 1] = side * 0.07 * jowl, -0.06 * jowl - 0.03 * corner
    moves[3, ..., 2] = (
        -0.05 * hollow + 0.03 * bump(x, y, 0, tip, 0.12, 0.1) - 0.03 * pair(s["eye_gap"], s["eye_y"], 0.13, 0.1)
    )
    shrink = ramp(y, 0.1, -0.9)
    moves[4, ..., 1] = 0.16 * shrink
    moves[4, ..., 0] = side * (0.05 * pair(0.4, -0.4, 0.18, 0.2) + 0.03 * ramp(y, 0.1, 0.6)) * front
    moves[4, ..., 2] = 0.05 * pair(0.36, -0.4, 0.18, 0.18) * front - 0.35 * front * profile * ridge
    return Surface(f32(points), moves.reshape(len(MOVES), -1), hair)
