"""Five points mapped to the template, and the pixels with them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptface_jax.align.detector import turned_back
from adaptface_jax.align.geometry import CROP_SIZE, TEMPLATE, inverse, moved, similarity, warp
from adaptface_jax.core.errors import InputError


def transform(scale: float, degrees: float, x: float, y: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cos, -sin, x], [sin, cos, y]])


transforms = st.builds(
    transform, st.floats(0.05, 20), st.floats(-180, 180), st.floats(-4000, 4000), st.floats(-4000, 4000)
)


def photograph(landmarks: np.ndarray, width: int, height: int, spot: float) -> np.ndarray:
    """A Gaussian spot on black at each landmark; `spot` is its standard deviation in pixels."""
    y, x = np.mgrid[:height, :width]
    image = sum(np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * spot**2)) for u, v in landmarks)
    return np.repeat((255 * np.clip(image, 0, 1)).round().astype(np.uint8)[:, :, None], 3, axis=2)


def spots(view: np.ndarray) -> np.ndarray:
    """The centroid of the light around each template point."""
    y, x = np.mgrid[:CROP_SIZE, :CROP_SIZE]
    found = []
    for u, v in TEMPLATE:
        light = np.where((x - u) ** 2 + (y - v) ** 2 < 8**2, view[:, :, 0].astype(float), 0)
        found.append([(light * x).sum() / light.sum(), (light * y).sum() / light.sum()])
    return np.array(found)


@given(transforms)
def test_a_similarity_is_recovered_exactly(wanted):
    found = similarity(TEMPLATE, moved(TEMPLATE, wanted))
    np.testing.assert_allclose(moved(TEMPLATE, found), moved(TEMPLATE, wanted), rtol=1e-10, atol=1e-8)
    np.testing.assert_allclose(found[:, :2], wanted[:, :2], rtol=1e-8, atol=1e-9)


@given(transforms)
def test_the_inverse_undoes_a_transform(wanted):
    np.testing.assert_allclose(moved(moved(TEMPLATE, wanted), inverse(wanted)), TEMPLATE, atol=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_no_nearby_similarity_fits_noisy_points_better(seed):
    rng = np.random.default_rng(seed)
    source = TEMPLATE * 3 + rng.normal(0, 4, TEMPLATE.shape)
    best = similarity(source, TEMPLATE)

    def error(matrix: np.ndarray) -> float:
        return float(np.square(moved(source, matrix) - TEMPLATE).sum())

    for _ in range(10):
        change = transform(1 + rng.normal(0, 0.02), rng.normal(0, 2), *rng.normal(0, 1, 2))
        other = np.column_stack([change[:, :2] @ best[:, :2], change[:, :2] @ best[:, 2] + change[:, 2]])
        assert error(best) <= error(other)


def test_a_mirrored_face_is_turned_and_never_mirrored():
    found = similarity(TEMPLATE * [-1, 1] + [112, 0], TEMPLATE)
    assert np.linalg.det(found[:, :2]) > 0


@pytest.mark.parametrize("points", [np.ones((5, 2)), np.full((5, 2), np.nan)])
def test_coincident_landmarks_are_an_error(points):
    with pytest.raises(InputError, match="at one point"):
        similarity(points, TEMPLATE)


@pytest.mark.parametrize(
    ("scale", "degrees"), [(1, 0), (0.7, 0), (1.6, -20), (2.5, 25), (3.99, 90), (5.2, 170), (9.7, 33)]
)
def test_warped_landmarks_land_on_the_template(scale, degrees):
    middle = transform(scale, degrees, 0, 0)
    landmarks = moved(TEMPLATE - TEMPLATE.mean(axis=0), middle) + np.array([500.25, 400.6])
    view = warp(photograph(landmarks, 1000, 800, 2.5 * scale), similarity(landmarks, TEMPLATE))
    assert view.shape == (CROP_SIZE, CROP_SIZE, 3) and view.dtype == np.uint8
    assert np.abs(spots(view) - TEMPLATE).max() < 0.1


def test_a_whole_shift_changes_no_pixel():
    image = np.random.default_rng(0).integers(0, 256, (150, 160, 3)).astype(np.uint8)
    np.testing.assert_array_equal(warp(image, transform(1, 0, -7, -21)), image[21 : 21 + 112, 7 : 7 + 112])


def test_a_large_face_is_averaged_not_sampled():
    fine = np.zeros((1120, 1120, 3), np.uint8)
    fine[:, ::2] = 200  # stripes of one pixel: every output pixel covers as many bright as dark ones
    view = warp(fine, transform(0.1, 0, -0.45, -0.45))
    assert np.abs(view.astype(int) - 100).max() <= 1


def test_outside_the_photograph_is_black():
    white = np.full((20, 20, 3), 255, np.uint8)
    assert not warp(white, transform(1, 0, 300, 0)).any()
    view = warp(white, transform(1, 0, 50, 50))
    assert view[50:70, 50:70].min() == 255 and view.sum() == 20 * 20 * 3 * 255


@given(st.integers(0, 3), st.integers(1, 9), st.integers(1, 9), st.data())
def test_points_in_a_rotated_photograph_map_back_to_it(turns, width, height, data):
    photograph = np.zeros((height, width), int)
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    photograph[y, x] = 1
    row, column = np.argwhere(np.rot90(photograph, turns))[0]
    np.testing.assert_array_equal(turned_back(np.array([[column, row]]), turns, width, height), [[x, y]])
