"""The ROC is exact, and so is every metric read from it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptface_jax.evaluation.roc import roc_curve


@st.composite
def judged_pairs(draw):
    """Distances, coarse enough to tie, of both kinds of pairs."""
    genuine = draw(st.lists(st.integers(0, 20), min_size=1, max_size=40))
    impostor = draw(st.lists(st.integers(0, 20), min_size=1, max_size=40))
    return np.array(genuine + impostor, float), np.arange(len(genuine) + len(impostor)) < len(genuine)


@settings(max_examples=60, deadline=None)
@given(judged_pairs())
def test_auc_is_the_chance_that_a_genuine_pair_is_nearer(pairs):
    distances, issame = pairs
    genuine, impostor = distances[issame][:, None], distances[~issame][None]
    assert roc_curve(distances, issame).auc() == pytest.approx(
        ((genuine < impostor) + 0.5 * (genuine == impostor)).mean()
    )


@settings(max_examples=60, deadline=None)
@given(judged_pairs())
def test_best_accuracy_is_the_best_of_all_thresholds(pairs):
    distances, issame = pairs
    thresholds = np.append(np.unique(distances), np.inf)
    expected = max(((distances < cut) == issame).mean() for cut in thresholds)
    assert roc_curve(distances, issame).best_accuracy() == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(judged_pairs())
def test_equal_error_rate_lies_on_the_curve_and_mirrors_with_the_truth(pairs):
    distances, issame = pairs
    roc = roc_curve(distances, issame)
    eer = roc.eer()
    segments = zip(roc.far, roc.far[1:], roc.tar, roc.tar[1:], strict=False)
    on_curve = [
        abs((far1 - far0) * (1 - eer - tar0) - (tar1 - tar0) * (eer - far0)) < 1e-9
        for far0, far1, tar0, tar1 in segments
        if far0 - 1e-9 <= eer <= far1 + 1e-9
    ]
    assert any(on_curve)
    assert roc_curve(-distances, issame).eer() == pytest.approx(1 - eer)


def test_equal_error_rate_of_known_errors():
    """One genuine pair of four is farther than the nearest of four impostors."""
    distances = np.array([1, 2, 3, 6, 5, 7, 8, 9], float)
    assert roc_curve(distances, np.arange(8) < 4).eer() == pytest.approx(0.25)


def test_tar_at_far_is_the_largest_whose_far_does_not_exceed_the_target():
    impostors = 1000
    distances = np.concatenate([np.arange(impostors), [9.5, 99.5, 5000]]).astype(float)
    roc = roc_curve(distances, np.arange(impostors + 3) >= impostors)
    assert roc.tar_at_far(1e-1) == pytest.approx(2 / 3)  # 100 false accepts exceed 99.5
    assert roc.tar_at_far(1e-2) == pytest.approx(1 / 3)
    assert roc.tar_at_far(0.0999) == pytest.approx(1 / 3)


def test_a_far_of_under_ten_expected_false_accepts_is_not_available():
    distances = np.arange(2000, dtype=float)
    issame = np.arange(2000) < 1000
    assert roc_curve(distances, issame).tar_at_far(1e-2) == 1.0  # ten of 1,000
    assert roc_curve(distances, issame).tar_at_far(1e-3) is None
    assert roc_curve(distances[:-1], issame[:-1]).tar_at_far(1e-2) is None  # 9.99 of 999


def test_pairs_at_one_distance_are_accepted_together():
    roc = roc_curve(np.zeros(4), np.array([True, True, False, False]))
    np.testing.assert_array_equal(roc.far, [0, 1])
    np.testing.assert_array_equal(roc.tar, [0, 1])
    assert (roc.auc(), roc.eer()) == (0.5, 0.5)
