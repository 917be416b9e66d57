# SPDX-License-Identifier: Apache-2.0
"""torchvision's definitions on PIL images, in a few lines of Pillow: transforms.functional and RandomResizedCrop."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageEnhance

from adaptface_jax.data.augmentation.color_jitter import Changes
from adaptface_jax.data.augmentation.random_crop import Box

BLENDS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


def adjust_hue(image: Image.Image, hue: float) -> Image.Image:
    h, s, v = image.convert("HSV").split()
    turned = np.array(h) + np.int32(hue * 255).astype(np.uint8)
    return Image.merge("HSV", (Image.fromarray(turned), s, v)).convert("RGB")


def jitter(image: Image.Image, changes: Changes) -> Image.Image:
    """The changes of one image, in their order."""
    for place in range(len(changes.order) + 1):
        if place == changes.before_hue:
            image = adjust_hue(image, float(changes.hue))
        if place < len(changes.order):
            image = BLENDS[changes.order[place]](image).enhance(float(changes.factors[place]))
    return image


def resized_crop(image: Image.Image, box: Box) -> Image.Image:
    top, left, height, width = (int(number) for number in box)
    part = image.crop((left, top, left + width, top + height))
    return part.resize(image.size, Image.Resampling.BILINEAR)


def get_params(
    random: np.random.Generator, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    for _ in range(10):
        area = height * width * random.uniform(*scale)
        aspect = math.exp(random.uniform(*np.log(ratio)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(random.integers(0, height - h + 1)), int(random.integers(0, width - w + 1)), h, w
    in_ratio = width / height
    if in_ratio < min(ratio):
        w, h = width, round(width / min(ratio))
    elif in_ratio > max(ratio):
        w, h = round(height * max(ratio)), height
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w
