"""Photographs with a known face: a tight portrait placed, scaled and rotated in a larger scene."""

from __future__ import annotations

import numpy as np
from PIL import Image

from adaptface_jax.align.geometry import inverse

WIDTH, HEIGHT = 640, 480
WALL = 60  # pixels of the portrait's edge colors, continued around it


def placement(portrait: np.ndarray, scale: float, degrees: float, middle: tuple[float, float]) -> np.ndarray:
    """The similarity [2, 3] that maps the portrait's center to `middle` of the scene."""
    height, width = portrait.shape[:2]
    angle = np.deg2rad(degrees)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([linear, np.array(middle) - linear @ [(width - 1) / 2, (height - 1) / 2]])


def random_placement(portrait: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """1.2 to 2.6 times as large, up to 25 degrees to either side, anywhere fully inside the scene."""
    scale, degrees = rng.uniform(1.2, 2.6), rng.uniform(-25, 25)
    half = min(75 * scale, HEIGHT / 2 - 1)
    return placement(
        portrait, scale, degrees, (rng.uniform(half, WIDTH - half), rng.uniform(half, HEIGHT - half))
    )  # fmt: skip


def scene(portrait: np.ndarray, where: np.ndarray, seed: int) -> np.ndarray:
    """uint8 [480, 640, 3]: the portrait, uint8 [H, W, 3], on a piece of wall in a room of waves and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    room = 128 + 40 * np.sin(x / 90 + seed) + 30 * np.cos(y / 60) + rng.normal(0, 4, (HEIGHT, WIDTH))
    wall = np.pad(portrait, ((WALL, WALL), (WALL, WALL), (0, 0)), mode="edge")
    shown = placed(wall, where)
    visible = placed(np.full(wall.shape, 255, np.uint8), where) / 255
    return (shown * visible + room.clip(0, 255)[:, :, None] * (1 - visible)).round().astype(np.uint8)


def placed(wall: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The wall in the scene, black around it."""
    back = inverse(where)
    shift = back[:, 2] + 0.5 - back[:, :2] @ [0.5, 0.5] + WALL
    data = tuple(np.column_stack([back[:, :2], shift]).ravel())
    return np.asarray(
        Image.fromarray(wall).transform((WIDTH, HEIGHT), Image.Transform.AFFINE, data, Image.Resampling.BICUBIC)
    )
