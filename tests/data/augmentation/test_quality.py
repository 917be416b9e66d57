"""Degraded images: blur, low resolution, JPEG and a hole, each compared with its definition or a library's."""

from __future__ import annotations

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter1d

from adaptface_jax.data.augmentation.augment import augment
from adaptface_jax.data.augmentation.quality import Quality, blurred, compressed, hole, shrunk

from ..packing import picture

FACES = np.stack([picture(seed, 24, 24) for seed in range(16)])
ALL = Quality(0.5, 0.05, 0.3, 20, 0.2)


def worse(quality, key=0, images=FACES):
    return np.asarray(augment(jax.random.key(key), images, False, 0, 0, quality=quality))


def test_the_share_is_changed_and_the_rest_is_as_it_was():
    images = np.tile(FACES, (16, 1, 1, 1))
    same = (worse(ALL, images=images) == images).all((1, 2, 3))
    assert 0.4 < same.mean() < 0.6
    np.testing.assert_array_equal(worse(ALL._replace(share=0.0)), FACES)
    np.testing.assert_array_equal(worse(Quality(1.0)), FACES)


def test_the_key_decides():
    np.testing.assert_array_equal(worse(ALL, 1), worse(ALL, 1))
    assert (worse(ALL, 1) != worse(ALL, 2)).any()


@given(st.floats(0.5, 3))
@settings(max_examples=10)
def test_blur_is_a_gaussian(sigma):
    line = np.zeros(33)
    line[16] = 1
    expected = gaussian_filter1d(line, sigma, truncate=20, mode="constant")
    np.testing.assert_allclose(blurred(33, jnp.float32(sigma)) @ line, expected, atol=1e-4)


def test_nothing_blurred_and_nothing_shrunk_is_the_identity():
    assert np.array_equal(blurred(24, jnp.float32(0)), np.eye(24))
    assert np.array_equal(shrunk(24, jnp.float32(1)), np.eye(24))


@pytest.mark.parametrize("count", [1, 4, 8, 24])
def test_low_resolution_averages_and_interpolates(count):
    """Pillow's box and bilinear filters do the same when low-resolution pixels cover whole ones."""
    line = np.random.default_rng(count).random((1, 24)).astype(np.float32)
    low = Image.fromarray(line).resize((count, 1), Image.Resampling.BOX)
    back = np.asarray(low.resize((24, 1), Image.Resampling.BILINEAR))
    found = np.asarray(shrunk(24, jnp.float32(count / 24)) @ line[0])
    np.testing.assert_allclose(found, back[0], atol=1e-5)


@pytest.mark.parametrize("quality", [10, 50, 90])
def test_jpeg_loses_what_a_jpeg_file_loses(quality):
    for face in FACES[:4]:
        file = io.BytesIO()
        Image.fromarray(face).save(file, "JPEG", quality=quality, subsampling=0)
        expected = np.asarray(Image.open(file), np.int32)
        found = np.asarray(compressed(jnp.asarray(face), jnp.float32(quality)), np.int32)
        lost = np.abs(expected - face.astype(np.int32)).mean()
        assert np.abs(found - expected).mean() < 0.2 * lost + 0.5


def test_the_hole_is_a_square_of_at_most_its_area():
    sizes = [int(hole(40, 40, jnp.array([share, 0.5, 0.5]), 0.25).sum()) for share in (0.0, 0.25, 1.0)]
    assert sizes == [0, 100, 400]
    found = worse(Quality(1.0, cutout=0.5), images=np.zeros_like(FACES))
    assert set(np.unique(found)) == {0, 127}


@given(st.floats(0.01, 1))
@settings(max_examples=10)
def test_low_resolution_keeps_a_uniform_image(share):
    np.testing.assert_allclose(shrunk(24, jnp.float32(share)).sum(axis=1), 1, atol=1e-5)
