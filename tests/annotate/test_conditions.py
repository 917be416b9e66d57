# SPDX-License-Identifier: Apache-2.0
"""From numbers to words, by thresholds."""

from __future__ import annotations

import dataclasses

import pytest

from adaptface_jax.annotate.conditions import WORDS, Thresholds, conditions
from adaptface_jax.annotate.measure import Measures

LIMITS = Thresholds(turned=20, tilted=15, dark=60, uneven=0.3, blurred=0.02)
PLAIN = Measures(
    yaw=0, pitch=0, roll=0, brightness=100, contrast=30, side=0, detail=0.1, face_size=40, faces=1
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "column", "word"),
    [
        ({}, "pose", "frontal"),
        ({"yaw": 19.9, "pitch": -14.9}, "pose", "frontal"),
        ({"yaw": 20, "pitch": 50}, "pose", "left"),
        ({"yaw": -20}, "pose", "right"),
        ({"pitch": 15}, "pose", "up"),
        ({"pitch": -15}, "pose", "down"),
        ({"roll": 80}, "pose", "frontal"),
        ({"yaw": None, "pitch": None, "roll": None, "faces": 0}, "pose", ""),
        ({}, "light", "good"),
        ({"brightness": 59.9}, "light", "dark"),
        ({"side": -0.3}, "light", "uneven"),
        ({"side": 0.5, "brightness": 10}, "light", "dark"),
        ({}, "sharpness", "sharp"),
        ({"detail": 0.019}, "sharpness", "blurred"),
    ],
)
def test_words(changes, column, word):
    found = conditions(dataclasses.replace(PLAIN, **changes), LIMITS)
    assert found[column] == word and tuple(found) == tuple(WORDS)
    assert word in ("", *WORDS[column])
