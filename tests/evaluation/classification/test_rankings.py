"""The ranking of labels, and which classes are confused with each other."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from adaptface_jax.evaluation.classification.rankings import by_f1, extremes, judged, most_confused, shares, splits
from tests.made_classifications import of_attributes, results_of

CONFUSION = ((8, 2, 0), (0, 3, 2), (1, 0, 0))


def test_labels_are_ranked_by_images_with_ties_by_share():
    pairs = most_confused(CONFUSION, "abc")
    assert [(pair.true, pair.predicted, pair.images, pair.share) for pair in pairs] == [
        ("b", "c", 2, 0.4), ("a", "b", 2, 0.2), ("c", "a", 1, 1.0),
    ]  # fmt: skip
    assert most_confused(np.diag([3, 4]), "ab") == []


@given(arrays(np.int64, (4, 4), elements=st.integers(0, 30)), st.integers(1, 12))
def test_confused_pairs_are_the_largest_off_the_diagonal(confusion, count):
    pairs = most_confused(confusion, range(4), count)
    wrong = np.sort(confusion[~np.eye(4, dtype=bool)])[::-1]
    assert [pair.images for pair in pairs] == [images for images in wrong[:count] if images]
    assert all(confusion[pair.true, pair.predicted] == pair.images for pair in pairs)


@given(arrays(np.int64, (3, 3), elements=st.integers(0, 9)))
def test_shares_of_a_class_sum_to_one_and_of_an_absent_class_to_zero(confusion):
    np.testing.assert_allclose(shares(confusion).sum(axis=1), confusion.any(axis=1))


def test_for_many_rows_the_extremes_are_shown():
    assert extremes(range(40)) == (range(40), 0)
    shown, hidden = extremes(range(41))
    assert list(shown) == [*range(10), *range(31, 41)] and hidden == 21


def test_labels_go_from_best_to_worst_and_equal_ones_keep_their_order():
    found = of_attributes(0.9)
    order = by_f1(found.labels)
    assert [found.labels[name].f1 for name in order] == sorted((s.f1 for s in found.labels.values()), reverse=True)
    level = {name: dataclasses.replace(score, f1=0.5) for name, score in found.labels.items()}
    assert by_f1(level) == list(level)


def test_a_run_is_ranked_by_the_split_nothing_was_selected_on():
    validation, test = of_attributes(0.9), of_attributes(0.8)
    assert judged(results_of(validation)) == ("validation", validation)
    assert judged(results_of(validation, test)) == ("test", test)
    assert list(splits(results_of(validation, test))) == ["validation", "test"]
