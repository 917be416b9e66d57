"""RandAugment (arXiv 1909.13719) with the 13 operations of FRoundation (arXiv 2410.23831), on the device.

Every operation equals Pillow's on uint8, with torchvision's ranges. Selected one by one under `vmap`, all of them would
be computed for all images. They are of three kinds, so an image takes three passes: one affine warp, one table of 256
entries per channel, and one blend with a degenerate image; a pass that an operation does not use is the identity.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.augmentation.warp import warp

OPS = (
    "Identity",
    "ShearX",
    "TranslateX",
    "Rotate",
    "Brightness",
    "Contrast",
    "Posterize",
    "Solarize",
    "AutoContrast",
    "Equalize",
    "Color",
    "Sharpness",
    "Grayscale",
)
LEVELS = 31

_SIGNED = ("ShearX", "TranslateX", "Rotate", "Brightness", "Contrast", "Color", "Sharpness")
_RANGES = {
    "ShearX": np.linspace(0, 0.3, LEVELS),  # input columns per output row
    "TranslateX": np.linspace(0, 150 / 331, LEVELS),  # of the width
    "Rotate": np.linspace(0, 30, LEVELS),  # degrees, counterclockwise
    "Brightness": np.linspace(0, 0.9, LEVELS),  # a factor of 1 + value, here and in the next three
    "Contrast": np.linspace(0, 0.9, LEVELS),
    "Color": np.linspace(0, 0.9, LEVELS),
    "Sharpness": np.linspace(0, 0.9, LEVELS),
    "Posterize": 8 - np.round(np.arange(LEVELS) * 4 / (LEVELS - 1)),  # bits kept
    "Solarize": np.linspace(255, 0, LEVELS),  # values from this one up are inverted
}
# float32 [13, 31], the value of each operation at each level, and bool [13].
_VALUES = np.stack([_RANGES.get(op, np.zeros(LEVELS)) for op in OPS]).astype(np.float32)
_HAS_SIGN = np.array([op in _SIGNED for op in OPS])


def randaugment(key: jax.Array, image: jax.Array, ops: int, max_level: int) -> jax.Array:
    """uint8 [H, W, 3] -> the same: `ops` consecutive operations, each of uniformly random kind, level and sign.

    max_level: levels are uniform in 1..max_level of LEVELS (0..30). Raises InputError for an invalid max_level.
    """
    if not 1 <= max_level < LEVELS:
        raise InputError(f"augment.randaugment_magnitude: {max_level} is not one of 1 to {LEVELS - 1}")

    def step(image: jax.Array, key: jax.Array) -> tuple[jax.Array, None]:
        return apply_op(image, *_draw(key, max_level)), None

    return jax.lax.scan(step, image, jax.random.split(key, ops))[0]


def _draw(key: jax.Array, max_level: int) -> tuple[jax.Array, jax.Array]:
    """The index in OPS (int32) and the value (float32) of one random operation."""
    op_key, level_key, sign_key = jax.random.split(key, 3)
    op = jax.random.randint(op_key, (), 0, len(OPS))
    value = jnp.asarray(_VALUES)[op, jax.random.randint(level_key, (), 1, max_level + 1)]
    negative = jax.random.bernoulli(sign_key) & jnp.asarray(_HAS_SIGN)[op]
    return op, jnp.where(negative, -value, value)


def apply_op(image: jax.Array, op: jax.Array, value: jax.Array) -> jax.Array:
    """uint8 [H, W, 3] -> the same: operation number `op` of OPS (int32 scalar) at `value` (float32 scalar, signed)."""
    image = _warp(image, op, value)
    image = _look_up(image, op, value)
    return _blend(image, op, value)


def _is(op: jax.Array, name: str) -> jax.Array:
    return op == OPS.index(name)


def _warp(image: jax.Array, op: jax.Array, value: jax.Array) -> jax.Array:
    """ShearX, TranslateX and Rotate; counterclockwise for positive values."""
    angle = jnp.where(_is(op, "Rotate"), -jnp.deg2rad(value), 0)
    shear = jnp.where(_is(op, "ShearX"), value, 0)
    shift = jnp.where(_is(op, "TranslateX"), jnp.trunc(value * image.shape[1]), 0)
    return warp(image, angle, shear, shift)


def _look_up(image: jax.Array, op: jax.Array, value: jax.Array) -> jax.Array:
    """One table of 256 entries per channel; tables are small, so all six are computed and at most one is used."""
    ramp = jnp.arange(256)
    counts = _histogram(image)  # [3, 256]
    pixels = image.shape[0] * image.shape[1]
    mean = (2 * _gray(image).sum() + pixels) // (2 * pixels)  # rounded half up

    used = counts > 0
    low = jnp.argmax(used, axis=1)[:, None]
    high = 255 - jnp.argmax(used[:, ::-1], axis=1)[:, None]
    stretched = jnp.clip((ramp - low) * 255 // jnp.maximum(high - low, 1), 0, 255)
    auto_contrast = jnp.where(high > low, stretched, ramp)

    step = (pixels - jnp.take_along_axis(counts, high, axis=1)) // 255
    below = jax.lax.associative_scan(jnp.add, counts, axis=1) - counts  # jnp.cumsum takes quadratic work on a CPU
    equalized = jnp.minimum((step // 2 + below) // jnp.maximum(step, 1), 255)
    equalize = jnp.where(step > 0, equalized, ramp)

    bits = jnp.clip(value, 0, 8).astype(jnp.int32)
    tables = {
        "Brightness": _mix(0, ramp, 1 + value),
        "Contrast": _mix(mean, ramp, 1 + value),
        "Posterize": ramp & ~((1 << (8 - bits)) - 1),
        "Solarize": jnp.where(ramp < value, ramp, 255 - ramp),
        "AutoContrast": auto_contrast,
        "Equalize": equalize,
    }
    # Selected by a matrix product, exact for 0..255 at any precision: XLA for CPUs fuses plain arithmetic into the
    # lookup and repeats it for every pixel (20 times as slow).
    chosen = jnp.stack([_is(op, name) for name in tables])
    weights = jnp.append(chosen, ~chosen.any()).astype(jnp.float32)
    stack = jnp.stack([jnp.broadcast_to(entries, (3, 256)) for entries in (*tables.values(), ramp)])
    table = jnp.tensordot(weights, stack.astype(jnp.float32), 1).astype(jnp.uint8).reshape(-1)
    return table[image.astype(jnp.int32) + 256 * jnp.arange(3)]


def _blend(image: jax.Array, op: jax.Array, value: jax.Array) -> jax.Array:
    """`degenerate + factor * (image - degenerate)`: gray for Color and Grayscale, smoothed for Sharpness."""
    sharpness, grayscale = _is(op, "Sharpness"), _is(op, "Grayscale")
    factor = jnp.where(_is(op, "Color") | sharpness, 1 + value, jnp.where(grayscale, 0, 1))
    degenerate = jnp.where(sharpness, _smooth(image), _gray(image)[..., None])
    return _mix(degenerate, image.astype(jnp.int32), factor).astype(jnp.uint8)


def _mix(degenerate: jax.Array | int, image: jax.Array, factor: jax.Array) -> jax.Array:
    """Integer 0..255; truncated, not rounded, like Pillow's `Image.blend`."""
    return jnp.clip(degenerate + factor * (image - degenerate), 0, 255).astype(jnp.int32)


def _gray(image: jax.Array) -> jax.Array:
    """int32 [H, W], ITU-R 601 luma in Pillow's integer weights."""
    weights = jnp.array([19595, 38470, 7471])
    return ((image.astype(jnp.int32) * weights).sum(-1) + 0x8000) >> 16


def _smooth(image: jax.Array) -> jax.Array:
    """int32 [H, W, 3], the 3 x 3 kernel of ones with 5 in the center, over 13; the outermost pixels are unchanged."""
    pixels = image.astype(jnp.int32)
    rows = pixels[:-2] + pixels[1:-1] + pixels[2:]
    total = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] + 4 * pixels[1:-1, 1:-1]
    return pixels.at[1:-1, 1:-1].set((2 * total + 13) // 26)


def _histogram(image: jax.Array) -> jax.Array:
    """int32 [3, 256]. A scatter: on a CPU 8 times as fast as sorting, 100 times as comparing with each value."""
    place = image.astype(jnp.int32) + 256 * jnp.arange(3)
    return jnp.zeros(768, jnp.int32).at[place.reshape(-1)].add(1).reshape(3, 256)
