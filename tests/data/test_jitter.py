"""Random misalignment: its range, and that the same key gives the same shift."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from adaptface_jax.data.augmentation.augment import augment, jitter

ROWS, COLUMNS = np.mgrid[0:48, 0:48]
# A bright dot in the middle of black.
DOT = np.repeat((255 * np.exp(-((ROWS - 23.5) ** 2 + (COLUMNS - 23.5) ** 2) / 18))[..., None], 3, -1).astype(np.uint8)


def center(image: jax.Array) -> np.ndarray:
    weights = np.asarray(image[..., 0], np.float64)
    return np.array([(ROWS * weights).sum(), (COLUMNS * weights).sum()]) / weights.sum()


def test_a_dot_moves_by_at_most_the_amount_along_each_axis():
    moved = [center(jitter(jax.random.key(i), DOT, 0.1)) - 23.5 for i in range(24)]
    # The shift is applied in the source, which is scaled by up to e^0.1.
    bound = 0.1 * 48 * np.exp(0.1) + 0.3
    assert np.abs(moved).max() <= bound
    assert np.std(moved, axis=0).min() > 1


def test_no_amount_is_the_image_itself():
    assert np.array_equal(jitter(jax.random.key(0), DOT, 0.0), DOT)


def test_each_image_of_a_batch_moves_by_its_own_key():
    batch = np.stack([DOT] * 4)
    change = {"flip": False, "randaugment_ops": 0, "randaugment_magnitude": 9, "shift": 0.1}
    one, two = (augment(jax.random.key(0), batch, **change) for _ in range(2))
    assert np.array_equal(one, two)
    places = [tuple(center(image)) for image in one]
    assert len(set(places)) == 4


@pytest.mark.parametrize("amount", [0.02, 0.5])
def test_pixels_stay_uint8_and_no_black_enters(amount):
    gray = np.full((16, 16, 3), 90, np.uint8)
    moved = jitter(jax.random.key(3), gray, amount)
    assert moved.dtype == np.uint8 and np.array_equal(moved, gray)
