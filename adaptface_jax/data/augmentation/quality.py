"""Images degraded on the device: blur, low resolution, JPEG compression, a cutout.

The strength is drawn per image; zero strength leaves it unchanged. Low resolution and blur along an axis are matrices
of the image's size, so that a batch in which every image has its own takes a few products.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Quantization of the 8 x 8 frequencies at quality 50: ITU-T T.81 (JPEG), annex K.1.
LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55], [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62], [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)  # fmt: skip
CHROMINANCE = np.full((8, 8), 99, np.float32)
CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
# RGB -> Y, Cb, Cr centered at 0: JFIF (ITU-T T.871).
YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
BLOCK = 8


class Quality(NamedTuple):
    """How far images are degraded at most; 0 disables a degradation.

    share: fraction of images that are degraded. blur: largest standard deviation, as a fraction of the image width.
    resolution: smallest side, as a fraction of the image's. jpeg: lowest quality, 1 to 100. cutout: largest area of
    the cutout, as a fraction of the image.
    """

    share: float = 1.0
    blur: float = 0.0
    resolution: float = 0.0
    jpeg: int = 0
    cutout: float = 0.0

    @property
    def is_none(self) -> bool:
        return not (self.share and (self.blur or self.resolution or self.jpeg or self.cutout))


GOOD = Quality()


def worsened(key: jax.Array, image: jax.Array, quality: Quality) -> jax.Array:
    """uint8 [H, W, 3] -> the same shape. For a fraction `share` of images, the strength of each degradation is drawn
    uniformly from zero to its maximum: blur, then low resolution, then JPEG, then the cutout."""
    height, width, _ = image.shape
    numbers = jax.random.uniform(key, (7,))
    chosen = numbers[0] < quality.share
    if quality.blur or quality.resolution:
        sigma = jnp.where(chosen, numbers[1] * quality.blur * width, 0)
        share = jnp.where(chosen & (quality.resolution > 0), 1 - numbers[2] * (1 - quality.resolution), 1)
        rows, columns = (shrunk(size, share) @ blurred(size, sigma) for size in (height, width))
        pixels = jnp.einsum("ij,jkc->ikc", rows, image.astype(jnp.float32), precision="highest")
        image = levels(jnp.einsum("ij,kjc->kic", columns, pixels, precision="highest"))
    if quality.jpeg:
        setting = jnp.round(100 - numbers[3] * (100 - quality.jpeg))
        image = jnp.where(chosen, compressed(image, setting), image)
    if quality.cutout:
        image = jnp.where(hole(height, width, numbers[4:], quality.cutout)[..., None] & chosen, 127, image)
    return image.astype(jnp.uint8)


def levels(pixels: jax.Array) -> jax.Array:
    """Integer levels 0..255, uint8."""
    return jnp.clip(jnp.round(pixels), 0, 255).astype(jnp.uint8)


def blurred(size: int, sigma: jax.Array) -> jax.Array:
    """float32 [size, size]: a Gaussian of standard deviation `sigma` in pixels, rows sum to 1; the identity for 0."""
    away = jnp.arange(size)[:, None] - jnp.arange(size)[None, :]
    weights = jnp.exp(-0.5 * jnp.square(away / jnp.maximum(sigma, 1e-2)))
    return weights / jnp.sum(weights, axis=1, keepdims=True)


def shrunk(size: int, share: jax.Array) -> jax.Array:
    """float32 [size, size]: means over round(share * size) equal pixels, and back by linear interpolation."""
    count = jnp.maximum(jnp.round(share * size), 1)
    step = size / count
    pixel, low = jnp.arange(size), jnp.arange(size)[:, None] * step
    means = jnp.clip(jnp.minimum(low + step, pixel + 1) - jnp.maximum(low, pixel), 0, 1) / step
    place = jnp.clip((pixel + 0.5) / step - 0.5, 0, count - 1)
    return jnp.maximum(1 - jnp.abs(place[:, None] - pixel[None, :]), 0) @ means


def compressed(image: jax.Array, quality: jax.Array) -> jax.Array:
    """uint8 [H, W, 3] -> the same after JPEG compression at this quality (1 to 100), colors at full resolution."""
    height, width, _ = image.shape
    padding = ((0, -height % BLOCK), (0, -width % BLOCK), (0, 0))
    pixels = jnp.pad(image.astype(jnp.float32), padding, mode="edge") @ YCC.T
    pixels -= jnp.array([128.0, 0, 0])
    high, wide = (size // BLOCK for size in pixels.shape[:2])
    blocks = pixels.reshape(high, BLOCK, wide, BLOCK, 3)
    cosine = _cosines()
    found = jnp.einsum("ui,aibjc,vj->aubvc", cosine, blocks, cosine, precision="highest")
    scale = jnp.where(quality < 50, 5000 / quality, 200 - 2 * quality)
    table = jnp.stack([LUMINANCE, CHROMINANCE, CHROMINANCE], axis=-1)
    table = jnp.clip(jnp.floor((table * scale + 50) / 100), 1, 255)[None, :, None]
    found = jnp.round(found / table) * table
    back = jnp.einsum("ui,aubvc,vj->aibjc", cosine, found, cosine, precision="highest").reshape(pixels.shape)
    rgb = (back + jnp.array([128.0, 0, 0])) @ np.linalg.inv(YCC).T
    return levels(rgb[:height, :width])


def _cosines() -> np.ndarray:
    """The orthonormal cosine transform of 8 values, float32 [8, 8]."""
    u, i = np.arange(BLOCK)[:, None], np.arange(BLOCK)[None, :]
    rows = np.sqrt(2 / BLOCK) * np.cos((2 * i + 1) * u * np.pi / (2 * BLOCK))
    rows[0] /= np.sqrt(2)
    return rows.astype(np.float32)


def hole(height: int, width: int, numbers: jax.Array, most: float) -> jax.Array:
    """bool [H, W], True in a randomly placed square (cutout, arXiv 1708.04552) of up to `most` of the image area.

    numbers: three in 0..1. The square's center is within the image; part of it may be outside.
    """
    half = jnp.sqrt(numbers[0] * most * height * width) / 2
    rows = jnp.abs(jnp.arange(height) + 0.5 - numbers[1] * height) < half
    columns = jnp.abs(jnp.arange(width) + 0.5 - numbers[2] * width) < half
    return rows[:, None] & columns[None, :]
