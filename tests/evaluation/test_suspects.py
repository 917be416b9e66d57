"""Planted twins, outliers and shared people are found by embeddings, and a valid set has none."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptface_jax.core.errors import InputError
from adaptface_jax.evaluation.suspects import People, outliers, shared, twin_threshold, twins

CLASSES, IMAGES, WIDTH = 20, 8, 32


def made(seed: int, person: np.ndarray, noise: float = 0.1) -> np.ndarray:
    """Unit embeddings of images of these people; a number is the same person in every call."""
    centers = np.random.default_rng(7).normal(size=(CLASSES + 5, WIDTH))
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    points = centers[person] + np.random.default_rng(seed).normal(0, noise, (len(person), WIDTH))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


LABEL = np.repeat(np.arange(CLASSES), IMAGES)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 999), st.data())
def test_what_was_planted_is_found_and_nothing_else(seed, data):
    first, second = data.draw(st.lists(st.integers(0, CLASSES - 1), min_size=2, max_size=2, unique=True))
    wrong = data.draw(st.integers(0, len(LABEL) - 1))
    truth = LABEL.copy()
    truth[second == LABEL] = first
    truth[wrong] = CLASSES + 1
    people = People.of(made(seed, truth), LABEL, CLASSES)
    threshold = twin_threshold(people, np.random.default_rng(0))
    pairs = {frozenset(LABEL[[one.image, one.other]].tolist()) for one in twins(people, threshold)}
    assert pairs == {frozenset((first, second))}
    apart = [one for one in outliers(people) if LABEL[one.image] not in (first, second)]
    assert {one.image for one in apart} <= {wrong}
    assert all(one.similarity > one.own for one in apart)
    seen = np.array([3, 3, CLASSES + 2, CLASSES + 2, 5, 5])
    others = People.of(made(seed + 1, seen), np.array([0, 0, 1, 1, 2, 2]), 3)
    common = list(shared(people, others, threshold - 0.1))
    assert {int(seen[one.other]) for one in common} == {3, 5} & set(truth.tolist())


def test_a_mislabeled_image_is_nearer_to_its_own_person():
    truth = LABEL.copy()
    truth[5] = 9
    people = People.of(made(0, truth), LABEL, CLASSES)
    (found,) = outliers(people)
    assert found.image == 5 and LABEL[found.other] == 9 and found.similarity > 0.8 > 0.5 > found.own
    assert not list(outliers(dataclasses.replace(people, units=made(0, LABEL))))


def test_people_of_few_images_need_a_threshold():
    label = np.repeat(np.arange(5), 2)
    people = People.of(made(0, label), label, 5)
    with pytest.raises(InputError, match=r"nobody has 4 images.*give --threshold"):
        twin_threshold(people, np.random.default_rng(0))
    assert not list(twins(people, 0.9))
