"""The doctor on a benchmark's conditions: the images of each, and the pairs and people behind every cell."""

from __future__ import annotations

import dataclasses

import numpy as np

from adaptface_jax.checks.setup.conditions import conditions
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from tests.checks.said import NOTE, OK, said

BENCHMARK = Benchmark(
    images=[b""] * 6,
    index=np.array([0, 1, 2, 3, 0, 2, 4, 5], np.int32),
    issame=np.array([True, True, False, False]),
    description="made",
    image_domain=np.array([[1, 0], [1, 1], [1, 0], [0, 1], [0, 0], [0, 1]], np.uint8),
    domain_names=("pose", "light"),
)


def test_images_per_condition_and_pairs_and_people_per_cell():
    images, pose, both = conditions(BENCHMARK)
    assert said(images) == ("conditions", OK)
    assert images.what == "pose 3, light 3 of 6 images, 1 unknown"
    assert said(pose) == ("pose with pose", NOTE) and pose.what == "2 pairs, 1 genuine, of 2 people"
    assert "too few to tell" in pose.advice
    assert said(both) == ("pose with light", NOTE) and both.what == "2 pairs, 2 genuine, of 2 people"
    assert "one kind of pair only" in both.advice and both.numbers == {"pairs": 2, "genuine": 2, "people": 2}


def test_a_benchmark_of_unknown_conditions_says_nothing_and_one_of_unused_labels_does():
    assert list(conditions(dataclasses.replace(BENCHMARK, image_domain=None))) == []
    (only,) = conditions(dataclasses.replace(BENCHMARK, image_domain=0 * BENCHMARK.image_domain))
    assert said(only) == ("conditions", NOTE) and only.what == "pose 0, light 0 of 6 images, 6 unknown"
