# SPDX-License-Identifier: Apache-2.0
"""The hue of every color is shifted as Pillow and torchvision shift it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from adaptface_jax.data.augmentation import hue as module
from adaptface_jax.data.augmentation.hue import shift_hue

SIDE = 2048


def every_triple(first: int) -> np.ndarray:
    """uint8 [2048, 2048, 3]: those of the 2^24 triples whose first byte is first..first + 63."""
    number = np.arange(first << 16, first + 64 << 16).reshape(SIDE, SIDE)
    return np.stack([number >> 16, number >> 8 & 255, number & 255], -1).astype(np.uint8)


@jax.jit
def to_hsv(images: jax.Array) -> jax.Array:
    return jnp.stack(module._to_hsv(*jnp.moveaxis(images.astype(jnp.float32), -1, 0)), -1).astype(jnp.uint8)


@jax.jit
def to_rgb(images: jax.Array) -> jax.Array:
    return jnp.stack(module._to_rgb(*jnp.moveaxis(images.astype(jnp.float32), -1, 0)), -1).astype(jnp.uint8)


def test_each_of_the_2_24_colors_becomes_pillows_hsv():
    for first in (0, 64, 128, 192):
        colors = every_triple(first)
        np.testing.assert_array_equal(to_hsv(colors), np.asarray(Image.fromarray(colors).convert("HSV")))


def test_each_of_the_2_24_hsv_triples_becomes_pillows_color():
    for first in (0, 64, 128, 192):
        triples = every_triple(first)
        planes = [Image.fromarray(np.ascontiguousarray(triples[..., plane])) for plane in range(3)]
        np.testing.assert_array_equal(to_rgb(triples), np.asarray(Image.merge("HSV", planes).convert("RGB")))


def test_a_shift_is_added_modulo_256():
    colors = np.random.default_rng(0).integers(0, 256, (256, 64, 3), np.uint8)
    shifts = np.arange(256, dtype=np.uint8)[:, None]
    planes = jnp.moveaxis(jnp.asarray(colors, jnp.float32), -1, 0)
    found = np.stack(jax.jit(shift_hue)(*planes, shifts.astype(np.float32)), -1)
    hsv = np.array(Image.fromarray(colors).convert("HSV"))
    hsv[..., 0] += shifts
    planes = [Image.fromarray(np.ascontiguousarray(hsv[..., plane])) for plane in range(3)]
    np.testing.assert_array_equal(found, np.asarray(Image.merge("HSV", planes).convert("RGB")))
