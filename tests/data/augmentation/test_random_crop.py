"""A random part of an image, chosen as RandomResizedCrop chooses it and enlarged as Pillow enlarges it."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.augmentation.packed import pack, unpack
from adaptface_jax.data.augmentation.random_crop import Box, crop_and_resize, draw_box

from ..packing import picture
from .torchvision_by_pillow import get_params, resized_crop

HEIGHT, WIDTH = 28, 37
NOISE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)

crop = jax.jit(crop_and_resize)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    height, width = draw(st.integers(1, HEIGHT)), draw(st.integers(1, WIDTH))
    top, left = draw(st.integers(0, HEIGHT - height)), draw(st.integers(0, WIDTH - width))
    return Box(*(np.int32(number) for number in (top, left, height, width)))


@given(box=boxes())
def test_every_box_is_enlarged_as_pillow_does_level_for_level(box):
    for image in (NOISE, picture(0, WIDTH, HEIGHT)):
        expected = np.asarray(resized_crop(Image.fromarray(image), box))
        np.testing.assert_array_equal(unpack(crop(pack(image), box)), expected)


@pytest.mark.parametrize("size", [64, 224])
def test_every_length_of_a_box_is_enlarged_as_pillow_does(size):
    noise = np.random.default_rng(1).integers(0, 256, (size, size, 3), np.uint8)
    for length in range(1, size + 1, 1 if size == 64 else 9):
        box = Box(*(np.int32(number) for number in (size - length, 0, length, length)))
        expected = np.asarray(resized_crop(Image.fromarray(noise), box))
        np.testing.assert_array_equal(unpack(crop(pack(noise), box)), expected)


def drawn(shape, scale, ratio, count=4000) -> np.ndarray:
    """int [count, 4]: top, left, height, width."""
    keys = jax.random.split(jax.random.key(0), count)
    return np.stack(jax.jit(jax.vmap(lambda key: draw_box(key, *shape, scale, ratio)))(keys), 1)


@pytest.mark.parametrize(
    ("shape", "scale", "ratio"),
    [
        ((64, 64), (0.8, 1.0), (1.0, 1.0)),
        ((224, 224), (0.08, 1.0), (3 / 4, 4 / 3)),
        ((40, 60), (0.5, 1.0), (0.5, 2.0)),  # many attempts do not fit
    ],
)
def test_boxes_are_distributed_as_torchvisions(shape, scale, ratio):
    found = drawn(shape, scale, ratio)
    random = np.random.default_rng(0)
    expected = np.array([get_params(random, *shape, scale, ratio) for _ in range(4000)])
    assert (found[:, 0] >= 0).all() and (found[:, 0] + found[:, 2] <= shape[0]).all()
    assert (found[:, 1] >= 0).all() and (found[:, 1] + found[:, 3] <= shape[1]).all()
    for column in range(4):
        assert scipy.stats.ks_2samp(found[:, column], expected[:, column]).pvalue > 0.001
        assert found[:, column].mean() == pytest.approx(expected[:, column].mean(), abs=expected[:, column].std() / 15)


@pytest.mark.parametrize(
    ("shape", "scale", "ratio"),
    [
        ((40, 20), (1.0, 1.0), (2.0, 3.0)),  # too tall
        ((20, 41), (1.0, 1.0), (0.3, 0.5)),  # too wide
        ((64, 64), (1.0, 1.0), (0.2, 5.0)),  # the whole image
    ],
)
def test_after_ten_failed_attempts_the_box_is_central(shape, scale, ratio):
    random = np.random.default_rng(0)
    expected = {get_params(random, *shape, scale, ratio) for _ in range(50)}
    assert len(expected) == 1
    assert {tuple(box) for box in drawn(shape, scale, ratio, 50).tolist()} == expected


def test_the_box_of_the_whole_image_is_the_image():
    found = crop(pack(NOISE), Box(*(np.int32(number) for number in (0, 0, HEIGHT, WIDTH))))
    np.testing.assert_array_equal(unpack(found), NOISE)


@pytest.mark.parametrize(
    ("scale", "ratio", "name"),
    [
        ((0.0, 1.0), (1.0, 1.0), "crop_scale"),
        ((0.9, 0.8), (1.0, 1.0), "crop_scale"),
        ((0.8, 1.1), (1.0, 1.0), "crop_scale"),
        ((0.8, 1.0), (0.0, 1.0), "crop_ratio"),
        ((0.8, 1.0), (2.0, 1.0), "crop_ratio"),
        ((0.8, 1.0), (1.0, float("inf")), "crop_ratio"),
    ],
)
def test_bounds_out_of_order_or_range_are_refused(scale, ratio, name):
    with pytest.raises(InputError, match=rf"^augment\.{name}: .* in order; expected"):
        draw_box(jax.random.key(0), 8, 8, scale, ratio)
