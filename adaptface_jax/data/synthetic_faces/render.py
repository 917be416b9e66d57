"""From a head and the conditions of an image to pixels: pose, light, splatting, backdrop and camera."""

from __future__ import annotations

import dataclasses

import numpy as np

from adaptface_jax.data.synthetic_faces.conditions import Conditions
from adaptface_jax.data.synthetic_faces.head import COLUMNS, ROWS, Surface, build_surface, ramp
from adaptface_jax.data.synthetic_faces.skin import Layers, build_layers, paint, smooth_noise
from adaptface_jax.data.synthetic_faces.traits import Traits, f32

SIZE = 112
_PIXELS = SIZE * SIZE
_ROW, _COLUMN = np.meshgrid(np.arange(SIZE, dtype=np.float32), np.arange(SIZE, dtype=np.float32), indexing="ij")


@dataclasses.dataclass(frozen=True)
class Person:
    """What is computed once for all images of one person."""

    traits: Traits
    surface: Surface
    layers: Layers


def build_person(traits: Traits) -> Person:
    surface = build_surface(traits)
    return Person(traits, surface, build_layers(traits, surface))


def _rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Degrees to float32 [3, 3]: yaw about y, then pitch about x, then roll about z."""
    (cy, cp, cr), (sy, sp, sr) = np.cos(np.deg2rad([yaw, pitch, roll])), np.sin(np.deg2rad([yaw, pitch, roll]))
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return f32(about_z @ about_x @ about_y)


def _normals(points: np.ndarray) -> np.ndarray:
    """Outward unit normals of the grid, float32 [ROWS, COLUMNS, 3]."""
    down, across = np.empty_like(points), np.empty_like(points)
    down[1:-1], down[0], down[-1] = points[2:] - points[:-2], points[1] - points[0], points[-1] - points[-2]
    across[:, 1:-1] = points[:, 2:] - points[:, :-2]
    across[:, 0], across[:, -1] = points[:, 1] - points[:, 0], points[:, -1] - points[:, -2]
    dx, dy, dz = down[..., 0], down[..., 1], down[..., 2]
    ax, ay, az = across[..., 0], across[..., 1], across[..., 2]
    normal = np.stack([dy * az - dz * ay, dz * ax - dx * az, dx * ay - dy * ax], -1)
    return normal / (np.sqrt(np.einsum("ijk,ijk->ij", normal, normal)) + 1e-9)[..., None]


def _splat(x: np.ndarray, y: np.ndarray, depth: np.ndarray, colors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw visible points with bilinear weights: image [SIZE, SIZE, 3] and coverage [SIZE, SIZE] in 0..1."""
    keep = (x > 0) & (x < SIZE - 1.01) & (y > 0) & (y < SIZE - 1.01)
    x, y, depth, colors = x[keep], y[keep], depth[keep], colors[keep]
    column, row = x.astype(np.int32), y.astype(np.int32)
    cell = row * SIZE + column
    nearest = np.full(_PIXELS, -9.0, np.float32)
    np.maximum.at(nearest, cell, depth)
    keep = depth > nearest[cell] - 0.13
    fx, fy, cell, colors = (x - column)[keep], (y - row)[keep], cell[keep], colors[keep]
    weights = np.concatenate([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy])
    where = np.concatenate([cell, cell + 1, cell + SIZE, cell + SIZE + 1])
    total = np.bincount(where, weights, _PIXELS)
    parts = weights.reshape(4, -1)
    channels = [np.bincount(where, (parts * colors[:, c]).ravel(), _PIXELS) for c in range(3)]
    image = np.stack(channels, -1) / np.maximum(total, 1e-6)[:, None]
    return f32(image).reshape(SIZE, SIZE, 3), f32(np.clip(total * 2.2, 0, 1)).reshape(SIZE, SIZE)


def _backdrop(person: Person, c: Conditions, center: tuple[float, float], light: float) -> np.ndarray:
    """Wall, shoulders, neck and the hair behind the head: float32 [SIZE, SIZE, 3]."""
    rng = np.random.default_rng(c.background)
    base, change = rng.uniform(0.05, 0.95, 3) * 0.3 + rng.uniform(0.05, 0.6), rng.normal(0, 0.12, (2, 3))
    across, down = _COLUMN / SIZE - 0.5, _ROW / SIZE - 0.5
    wall = base + across[..., None] * change[0] + down[..., None] * change[1]
    if rng.random() < 0.6:
        cells = int(rng.integers(2, 9))
        wall = wall + rng.uniform(0.02, 0.14) * smooth_noise(rng, SIZE, SIZE, (cells, cells))[..., None]
    s, scale = person.traits.shape, c.scale
    x = (_COLUMN - center[0]) / scale
    y = (center[1] - _ROW) / scale
    turn = np.sin(np.deg2rad(c.yaw))
    image = f32(wall)

    def cover(color: np.ndarray, mask: np.ndarray) -> None:
        image[...] += (f32(color) - image) * f32(np.clip(mask, 0, 1))[..., None]

    gray = float(np.clip((max(c.age, 0) - 0.5 * person.traits.grays_by) / 0.45, 0, 1))
    hair = person.traits.hair * (1 - gray) + 0.7 * gray
    if person.traits.hair_style in ("long", "medium"):
        low = -1.25 if person.traits.hair_style == "long" else -0.55
        cover(
            hair * 0.55,
            ramp(np.abs(x + 0.12 * turn), s["face_width"] + 0.2, s["face_width"] + 0.1)
            * ramp(y, low, low + 0.1)
            * (y < 0.5),
        )
    shadow = 0.55 + 0.25 * light
    neck = s["neck_width"] * (1 - 0.2 * max(-c.age, 0))
    rounded = 1 - 0.45 * np.clip(np.abs(x + 0.2 * turn) / neck, 0, 1) ** 2 - 0.35 * ramp(y, -1.1, -0.85)
    cover(
        person.traits.skin * (shadow * rounded)[..., None],
        ramp(np.abs(x + 0.15 * turn), neck + 0.03, neck - 0.02) * (y < -0.3),
    )
    cloth = rng.uniform(0.02, 0.8) * rng.uniform(0.6, 1.0, 3)
    slope = -1.08 - 0.28 * np.clip(np.abs(x + 0.1 * turn) - 0.3, 0, 9) ** 1.2 - 0.25 * rng.random() * (np.abs(x) < neck)
    cover(cloth * (1 + 0.06 * smooth_noise(rng, SIZE, SIZE, (12, 5))[..., None]), ramp(y - slope, 0.03, -0.03))
    return image


def _soften(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur with five taps and mirrored edges."""
    taps = np.exp(-0.5 * (np.arange(-2, 3) / max(sigma, 1e-3)) ** 2)
    taps = f32(taps / taps.sum())
    for axis in (0, 1):
        padded = np.pad(image, [(2, 2) if a == axis else (0, 0) for a in range(3)], mode="reflect")
        parts = [padded[k : k + SIZE] if axis == 0 else padded[:, k : k + SIZE] for k in range(5)]
        image = sum(t * p for t, p in zip(taps, parts, strict=True))
    return image


def render(person: Person, c: Conditions, rng: np.random.Generator) -> np.ndarray:
    """One image of one person: uint8 [112, 112, 3], sRGB-like. `rng` only draws the sensor noise."""
    t = person.traits
    amounts = f32([c.smile, c.mouth, c.brows, max(c.age, 0), max(-c.age, 0)])
    points = person.surface.points + (amounts @ person.surface.moves).reshape(ROWS, COLUMNS, 3)
    glasses = c.glasses and t.glasses > 0
    albedo = paint(t, person.layers, age=c.age, smile=c.smile, mouth=c.mouth, lids=c.lids, gaze=c.gaze, glasses=glasses)
    turn = _rotation(c.yaw, -c.pitch, c.roll)
    normals = _normals(points).reshape(-1, 3) @ turn.T
    points = points.reshape(-1, 3) @ turn.T

    az, el = np.deg2rad([c.azimuth, c.elevation])
    light = f32([np.sin(az) * np.cos(el), np.sin(el), np.cos(az) * np.cos(el)])
    seen = np.flatnonzero(normals[:, 2] > -0.02)
    normals, points, albedo = normals[seen], points[seen], albedo[seen]
    lambert = np.clip(normals @ light, 0, 1)
    half = light + f32([0, 0, 1])
    gloss = np.clip(normals @ (half / np.linalg.norm(half)), 0, 1)
    gloss = (gloss * gloss) ** 2
    gloss = (gloss * gloss) ** 2
    fill = 0.75 + 0.25 * normals[:, 2] + 0.12 * normals[:, 1]
    shade = c.ambient * fill + (1 - c.ambient) * 1.25 * lambert
    colors = albedo * shade[:, None] + (0.10 * (1 - c.ambient) * gloss)[:, None]

    near = c.scale * (1 + 0.10 * points[:, 2])
    center = (SIZE / 2 + c.shift[0], SIZE * 0.47 + c.shift[1])
    head, cover = _splat(center[0] + near * points[:, 0], center[1] - near * points[:, 1], points[:, 2], colors)
    room = _backdrop(person, c, center, light[2]) * f32(c.ambient + (1 - c.ambient) * 0.75)
    image = room + (head - room) * cover[..., None]

    image = image * f32(c.exposure) * f32(c.tint)
    image = _soften(image, c.blur)
    image = np.sqrt(np.clip(image, 0, 4))
    image = image * np.sqrt(image)
    image = (image - 0.45) * f32(c.contrast) + 0.45
    if c.gray:
        image = np.repeat(image @ f32([[0.299], [0.587], [0.114]]), 3, -1)
    image = image + rng.standard_normal(image.shape, np.float32) * f32(c.noise)
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
