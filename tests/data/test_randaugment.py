"""Each operation is Pillow's, at torchvision's magnitudes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from adaptface_jax.data.augmentation import randaugment as module
from adaptface_jax.data.augmentation.randaugment import OPS, apply_op, randaugment

from .packing import picture

SIZE = 112
FLAT = np.full((SIZE, SIZE, 3), (7, 200, 90), np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
FEW = (picture(3) // 4 + 60) & 0xF0  # few levels, neither black nor white: Equalize and AutoContrast have work
IMAGES = np.stack([picture(0), picture(1), picture(2) // 2 + 30, FLAT, NOISE, FEW])

apply = jax.jit(jax.vmap(apply_op, in_axes=(0, None, None)))


def affine(image: Image.Image, *matrix: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)


PILLOW = {
    "Identity": lambda image, _: image,
    "ShearX": lambda image, value: affine(image, 1, value, 0, 0, 1, 0),
    "TranslateX": lambda image, value: affine(image, 1, 0, -int(value * image.width), 0, 1, 0),
    "Rotate": lambda image, value: image.rotate(value),
    "Brightness": lambda image, value: ImageEnhance.Brightness(image).enhance(1 + value),
    "Color": lambda image, value: ImageEnhance.Color(image).enhance(1 + value),
    "Contrast": lambda image, value: ImageEnhance.Contrast(image).enhance(1 + value),
    "Sharpness": lambda image, value: ImageEnhance.Sharpness(image).enhance(1 + value),
    "Posterize": lambda image, value: ImageOps.posterize(image, int(value)),
    "Solarize": lambda image, value: ImageOps.solarize(image, value),
    "AutoContrast": lambda image, _: ImageOps.autocontrast(image),
    "Equalize": lambda image, _: ImageOps.equalize(image),
    "Grayscale": lambda image, _: image.convert("L").convert("RGB"),
}
MOVES = ("ShearX", "TranslateX", "Rotate")


def values(op: str) -> list[float]:
    """A few levels, with both signs where the operation has them."""
    row = OPS.index(op)
    levels = module._VALUES[row, [1, 5, 11, 16, 30]]
    return [*levels, *-levels] if module._HAS_SIGN[row] else list(levels)


@pytest.mark.parametrize("op", OPS)
def test_every_operation_is_pillows(op):
    for value in values(op):
        found = np.asarray(apply(IMAGES, OPS.index(op), value)).astype(int)
        expected = np.stack([np.asarray(PILLOW[op](Image.fromarray(image), float(value))) for image in IMAGES])
        difference = np.abs(found - expected)
        if op in MOVES:
            # A source position on the border of two pixels may round to either.
            assert (difference.max(-1) > 0).mean() < 2e-4, value
        else:
            assert difference.max() <= 1, value
            assert (difference > 0).mean() < 0.02, value


def test_the_thirteen_operations_at_torchvisions_magnitudes():
    assert sorted(OPS) == sorted(PILLOW)
    table = dict(zip(OPS, module._VALUES, strict=True))
    tenth = {"ShearX": 0.1, "TranslateX": 50 / 331, "Rotate": 10, "Brightness": 0.3, "Contrast": 0.3, "Color": 0.3}
    tenth |= {"Sharpness": 0.3, "Posterize": 7, "Solarize": 170, "AutoContrast": 0, "Equalize": 0, "Identity": 0}
    for op, value in tenth.items():
        assert table[op][10] == pytest.approx(value), op
    assert table["Posterize"].tolist() == [8] * 4 + [7] * 8 + [6] * 7 + [5] * 8 + [4] * 4
    assert [op for op, signed in zip(OPS, module._HAS_SIGN, strict=True) if not signed] == [
        "Identity", "Posterize", "Solarize", "AutoContrast", "Equalize", "Grayscale",
    ]  # fmt: skip


def test_kinds_levels_and_signs_are_drawn_evenly():
    count, levels = 26_000, 4
    keys = jax.random.split(jax.random.key(0), count)
    ops, drawn = jax.tree.map(np.asarray, jax.jit(jax.vmap(lambda key: module._draw(key, levels)))(keys))
    for number, op in enumerate(OPS):
        of_kind = drawn[ops == number]
        assert len(of_kind) == pytest.approx(count / 13, abs=250), op  # 43 is one standard deviation
        row = module._VALUES[number, 1 : levels + 1]
        possible = np.concatenate([row, -row]) if module._HAS_SIGN[number] else row
        assert set(of_kind) == set(possible)
        if module._HAS_SIGN[number]:
            for value in possible:
                assert (of_kind == value).mean() == pytest.approx(1 / len(possible), abs=0.04), op


def test_operations_follow_each_other():
    image = jnp.asarray(picture(5, 20, 20))
    key = jax.random.key(3)
    expected = image
    for step in jax.random.split(key, 3):
        expected = apply(expected[None], *module._draw(step, 16))[0]
    np.testing.assert_array_equal(randaugment(key, image, 3, 16), expected)
