"""A random angle, and Pillow's rotation by it."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import scipy.stats
from PIL import Image

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.augmentation.packed import pack, unpack
from adaptface_jax.data.augmentation.rotation import draw_angle, random_rotation, rotate

from ..packing import picture


@pytest.mark.parametrize("shape", [(32, 32), (31, 24)])
def test_turned_as_pillow_turns(shape):
    image = picture(0, *shape[::-1])
    angles = np.random.default_rng(0).uniform(-180, 180, 300).astype(np.float32)
    found = unpack(jax.jit(jax.vmap(rotate, in_axes=(None, 0)))(pack(image), angles))
    expected = np.stack([np.asarray(Image.fromarray(image).rotate(float(angle))) for angle in angles])
    # A source position on the border of two pixels may round to either; that is one pixel in 100,000.
    assert (np.asarray(found) != expected).any(-1).mean() < 5e-5


def test_angles_are_uniform_within_the_setting():
    keys = jax.random.split(jax.random.key(0), 4000)
    angles = np.asarray(jax.jit(jax.vmap(lambda key: draw_angle(key, 15.0)))(keys))
    assert -15 <= angles.min() < -14.9 and 14.9 < angles.max() <= 15
    assert angles.mean() == pytest.approx(0, abs=4 * 30 / np.sqrt(12 * 4000))
    assert scipy.stats.kstest(angles, scipy.stats.uniform(-15, 30).cdf).pvalue > 0.001


def test_a_random_rotation_is_a_rotation_by_that_angle():
    key, image = jax.random.key(1), pack(picture(1, 24, 31))
    np.testing.assert_array_equal(random_rotation(key, image, 90.0), rotate(image, draw_angle(key, 90.0)))


@pytest.mark.parametrize("degrees", [-1.0, 181.0, float("nan")])
def test_an_angle_beyond_180_degrees_is_refused(degrees):
    with pytest.raises(InputError, match=r"^augment\.rotation: .* 0 to 180"):
        draw_angle(jax.random.key(0), degrees)
