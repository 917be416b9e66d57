# SPDX-License-Identifier: Apache-2.0
"""Colors change as torchvision's ColorJitter changes them on PIL images, level for level."""

from __future__ import annotations

import collections
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.augmentation.color_jitter import FACTOR_STEP, Changes, change_colors, draw
from adaptface_jax.data.augmentation.packed import pack, unpack

from ..packing import picture
from .torchvision_by_pillow import BLENDS, adjust_hue, jitter

SIZE = 20
NOISE = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
IMAGES = [picture(0, SIZE, SIZE), picture(1, SIZE, SIZE) // 2 + 90, NOISE, np.full((SIZE, SIZE, 3), 255, np.uint8)]

change = jax.jit(change_colors, static_argnames="with_hue")
blend = jax.jit(lambda packed, number, factor: change_colors(packed, changes([number], [factor]), with_hue=False))


def changes(order, factors, before_hue=0, hue=0.0) -> Changes:
    as_arrays = jnp.stack([jnp.asarray(number) for number in order]), jnp.stack([jnp.asarray(f) for f in factors])
    return Changes(*as_arrays, jnp.int32(before_hue), jnp.float32(hue))


@pytest.mark.parametrize("number", range(3))
@given(steps=st.integers(0, int(4 / FACTOR_STEP)))
@settings(max_examples=40)
def test_a_factor_is_pillows(number, steps):
    factor = steps * FACTOR_STEP
    for image in IMAGES:
        found = unpack(blend(pack(image), np.int32(number), np.float32(factor)))
        np.testing.assert_array_equal(found, np.asarray(BLENDS[number](Image.fromarray(image)).enhance(factor)))


@given(hue=st.floats(-0.5, 0.5, width=32))
@settings(max_examples=40)
def test_a_hue_is_pillows(hue):
    nothing = np.zeros(0, np.int32), np.zeros(0, np.float32), np.int32(0)
    for image in IMAGES[:3]:
        found = unpack(change(pack(image), Changes(*nothing, np.float32(hue))))
        np.testing.assert_array_equal(found, np.asarray(adjust_hue(Image.fromarray(image), hue)))


@pytest.mark.parametrize("given_settings", [(0.2, 0.2, 0.2, 0.1), (1.0, 0.5, 3.0, 0.5), (0.4, 0.0, 0.4, 0.2)])
def test_four_changes_in_any_order_are_pillows(given_settings):
    keys = jax.random.split(jax.random.key(0), 48)
    drawn = jax.jit(jax.vmap(lambda key: draw(key, *given_settings)))(keys)
    images = np.stack([IMAGES[row % 3] for row in range(48)])
    found = unpack(jax.jit(jax.vmap(change_colors))(pack(images), drawn))
    rows = [Changes(*(np.asarray(part)[row] for part in drawn)) for row in range(48)]
    expected = [np.asarray(jitter(Image.fromarray(image), row)) for image, row in zip(images, rows, strict=True)]
    np.testing.assert_array_equal(found, np.stack(expected))


COUNT = 4800
AMOUNTS = (0.2, 0.4, 1.5)


@pytest.fixture(scope="module")
def drawn() -> Changes:
    keys = jax.random.split(jax.random.key(1), COUNT)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(lambda key: draw(key, *AMOUNTS, 0.1)))(keys))


@pytest.mark.parametrize("number", range(3))
def test_factors_are_uniform_between_their_bounds(drawn, number):
    factors = drawn.factors[drawn.order == number]
    low, high = max(0.0, 1 - AMOUNTS[number]), 1 + AMOUNTS[number]
    assert len(factors) == COUNT
    assert low <= factors.min() < low + 0.01 and high - 0.01 < factors.max() <= high
    assert factors.mean() == pytest.approx((low + high) / 2, abs=4 * (high - low) / math.sqrt(12 * COUNT))
    assert scipy.stats.kstest(factors, scipy.stats.uniform(low, high - low).cdf).pvalue > 0.001


def test_hues_are_uniform_within_the_setting(drawn):
    assert np.abs(drawn.hue).max() <= 0.1
    assert scipy.stats.kstest(drawn.hue, scipy.stats.uniform(-0.1, 0.2).cdf).pvalue > 0.001


def test_the_24_orders_are_equally_frequent(drawn):
    found = collections.Counter(map(tuple, np.column_stack([drawn.order, drawn.before_hue]).tolist()))
    assert len(found) == 24
    assert scipy.stats.chisquare(list(found.values())).pvalue > 0.001


def test_what_is_switched_off_is_not_drawn():
    keys = jax.random.split(jax.random.key(0), 64)
    drawn = jax.jit(jax.vmap(lambda key: draw(key, 0.2, 0.0, 0.2, 0.0)))(keys)
    assert set(map(tuple, drawn.order.tolist())) == {(0, 2), (2, 0)}
    assert set(drawn.before_hue.tolist()) == {0, 1, 2}
    assert not drawn.hue.any()


@pytest.mark.parametrize(
    ("place", "value"), [(0, -0.1), (1, 3.5), (2, float("nan")), (0, float("inf")), (3, 0.6), (3, -0.1)]
)
def test_a_setting_outside_its_range_is_refused(place, value):
    given_settings = [0.0] * 4
    given_settings[place] = value
    name = ("brightness", "contrast", "saturation", "hue")[place]
    with pytest.raises(InputError, match=rf"^augment\.{name}: .* is not within 0 to "):
        draw(jax.random.key(0), *given_settings)
