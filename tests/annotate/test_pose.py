"""Yaw, pitch and roll of the mean face turned in space come back from its five landmarks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptface_jax.align.geometry import TEMPLATE
from adaptface_jax.annotate.pose import MEAN_FACE, head_pose


def turned(yaw: float, pitch: float, roll: float, size: float = 35.0, middle=(56.0, 70.0)) -> np.ndarray:
    """Landmarks of the mean face: raised, then turned aside, then its picture rotated; degrees."""
    y, p, r = np.deg2rad([yaw, pitch, roll])
    up = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    aside = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    clockwise = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return size * (MEAN_FACE @ (clockwise @ aside @ up).T)[:, :2] + middle


@given(st.floats(-80, 80), st.floats(-60, 60), st.floats(-170, 170), st.floats(2, 900), st.floats(-500, 500))
def test_a_rotated_face_has_the_pose_it_was_given(yaw, pitch, roll, size, shift):
    pose = head_pose(turned(yaw, pitch, roll, size, (shift, 40.0)))
    np.testing.assert_allclose([pose.yaw, pose.pitch, pose.roll], [yaw, pitch, roll], atol=1e-5)
    assert pose.size == pytest.approx(size)


def test_the_signs_follow_the_image():
    """The tip of the nose goes where the face looks; the eyes of a head that leans clockwise fall to the right."""
    rest = turned(0, 0, 0)
    assert (turned(30, 0, 0) - rest)[2, 0] > 0 and (turned(0, 20, 0) - rest)[2, 1] < 0
    left, right = turned(0, 0, 15)[:2]
    assert right[1] > left[1]


def test_an_aligned_crop_is_frontal_and_upright():
    """The template's nose is higher than where the detector sees noses."""
    pose = head_pose(TEMPLATE)
    assert np.abs([pose.yaw, pose.roll]).max() < 0.5 and 0 < pose.pitch < 15
    assert pose.size == pytest.approx(35.2, abs=1)


@given(st.floats(-60, 60), st.floats(-40, 40), st.floats(-40, 40))
def test_the_mirror_image_looks_the_other_way(yaw, pitch, roll):
    noisy = turned(yaw, pitch, roll) + np.random.default_rng(0).normal(0, 1, (5, 2))
    mirrored = (noisy * [-1, 1])[[1, 0, 2, 4, 3]]
    one, other = head_pose(noisy), head_pose(mirrored)
    np.testing.assert_allclose([one.yaw, one.pitch, one.roll], [-other.yaw, other.pitch, -other.roll], atol=1e-6)
