"""Light and sharpness of crops made here."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from adaptface_jax.annotate.quality import FACE, quality_of


def color(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray.clip(0, 255).round().astype(np.uint8)[:, :, None], 3, axis=2)


@pytest.fixture
def texture() -> np.ndarray:
    """float [112, 112], mean 100, with detail of every size."""
    noise = np.random.default_rng(0).normal(size=(112, 112))
    smooth = sum(ndimage.gaussian_filter(noise, sigma) * sigma for sigma in (0.7, 2, 5))
    return 100 + 15 * smooth / smooth.std()


def test_brightness_and_contrast_measure_the_luminance_of_the_face():
    seen = quality_of(color(np.where(FACE, 80, 250)))
    assert (seen.brightness, seen.contrast, seen.side) == (80, 0, 0)
    red = np.zeros((112, 112, 3), np.uint8)
    red[..., 0] = 200
    assert quality_of(red).brightness == pytest.approx(0.299 * 200, abs=1)


@pytest.mark.parametrize(("left", "right", "side"), [(150, 50, 0.5), (50, 150, -0.5), (0, 0, 0.0), (255, 0, 1.0)])
def test_side_compares_the_halves(left, right, side):
    columns = np.where(np.arange(112) < 56, left, right)
    assert quality_of(color(np.tile(columns, (112, 1)).astype(float))).side == pytest.approx(side, abs=0.02)


def test_detail_falls_with_blur_and_not_with_light_or_contrast(texture):
    detail = [quality_of(color(ndimage.gaussian_filter(texture, sigma))).detail for sigma in (0, 1, 2, 4)]
    assert all(before > 1.5 * after for before, after in itertools.pairwise(detail))
    darker = quality_of(color(0.5 * texture + 10)).detail
    assert darker == pytest.approx(detail[0], rel=0.1)


def test_pixels_outside_the_photograph_do_not_count(texture):
    whole = quality_of(color(texture))
    seen = np.ones((112, 112), bool)
    seen[:, :30] = False
    cut = quality_of(color(np.where(seen, texture, 0)), seen)
    assert cut.brightness == pytest.approx(whole.brightness, abs=3)
    assert quality_of(color(texture), np.zeros((112, 112), bool)).brightness == pytest.approx(texture.mean(), abs=1)
