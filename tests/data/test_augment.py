# SPDX-License-Identifier: Apache-2.0
"""On the device: resizing and normalizing like Pillow and torchvision, and changes determined only by their key."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from PIL import Image

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.augmentation.augment import augment, preprocess
from adaptface_jax.data.augmentation.resize import by_products, by_taps
from adaptface_jax.models.positions import antialiased
from adaptface_jax.models.specs import CLIP, HALF, IMAGENET

from .packing import picture

FACES = np.stack([picture(seed, 24, 24) for seed in range(16)])


@pytest.mark.parametrize("size", [72, 48, 25, 23, 17, 8])
def test_resizing_is_pillows_level_for_level(size):
    noise = np.random.default_rng(0).integers(0, 256, FACES.shape, np.uint8)  # overshoots at every edge
    for images in (FACES, noise):
        found = np.asarray(preprocess(images, size, HALF, jnp.float32)) * 127.5 + 127.5
        resized = [Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC) for image in images]
        np.testing.assert_allclose(found, np.stack([np.asarray(image) for image in resized]), atol=1e-4)


@pytest.mark.parametrize("size", [72, 23])
def test_products_give_the_same_levels(size):
    noise = np.random.default_rng(0).integers(0, 256, FACES.shape, np.uint8)
    weights = np.round(antialiased(24, size) * 2**22).astype(np.int32)
    for axis in (1, 2):
        by = [form(jnp.asarray(noise), axis, weights) for form in (by_products, by_taps)]
        np.testing.assert_array_equal(*by)


@pytest.mark.parametrize("stats", [IMAGENET, CLIP, HALF])
def test_stored_size_is_only_normalized(stats):
    found = preprocess(FACES, 24, stats, jnp.float32)
    expected = (FACES / 255.0 - np.array(stats.mean)) / np.array(stats.std)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_result_has_the_asked_type():
    found = preprocess(FACES, 24, HALF, jnp.bfloat16)
    assert found.dtype == jnp.bfloat16
    exact = preprocess(FACES, 24, HALF, jnp.float32)
    np.testing.assert_allclose(found.astype(jnp.float32), exact, rtol=2**-7)  # a last bit of bfloat16


def test_no_augmentation_changes_nothing():
    np.testing.assert_array_equal(augment(jax.random.key(0), FACES, False, 0, 0), FACES)


def test_about_half_are_mirrored_and_the_rest_untouched():
    images = np.tile(FACES, (16, 1, 1, 1))
    found = np.asarray(augment(jax.random.key(0), images, True, 0, 0))
    mirrored = (found == images[:, :, ::-1]).all((1, 2, 3))
    untouched = (found == images).all((1, 2, 3))
    assert (mirrored ^ untouched).all()
    assert 0.4 < mirrored.mean() < 0.6


def test_the_key_decides_and_each_image_has_its_own():
    same = np.tile(FACES[:1], (16, 1, 1, 1))
    first = np.asarray(augment(jax.random.key(1), same, True, 4, 16))
    np.testing.assert_array_equal(first, augment(jax.random.key(1), same, True, 4, 16))
    assert (first != np.asarray(augment(jax.random.key(2), same, True, 4, 16))).any()
    assert len({image.tobytes() for image in first}) > 12
    assert (first.shape, first.dtype) == (same.shape, np.uint8)


def test_sharding_the_batch_changes_nothing():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded = jax.device_put(FACES, NamedSharding(mesh, PartitionSpec("data")))
    found = augment(jax.random.key(1), sharded, True, 4, 16)
    np.testing.assert_array_equal(found, augment(jax.random.key(1), FACES, True, 4, 16))


@pytest.mark.parametrize("magnitude", [0, 31, -1])
def test_a_magnitude_without_a_level_is_refused(magnitude):
    with pytest.raises(InputError, match=r"^augment\.randaugment_magnitude"):
        augment(jax.random.key(0), FACES, True, 1, magnitude)
