"""Who is in the pairs, and their contribution to the variance of a metric."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from adaptface_jax.evaluation.roc import roc_curve
from adaptface_jax.evaluation.statistics import influence
from adaptface_jax.evaluation.statistics.jackknife import FEW, People
from adaptface_jax.evaluation.statistics.people import people_of


def grouped(person: np.ndarray) -> set[frozenset[int]]:
    """The images of each person, whatever the people's numbers."""
    return {frozenset(np.flatnonzero(person == number).tolist()) for number in np.unique(person)}


def test_images_that_genuine_pairs_join_are_one_persons():
    index = np.array([0, 1, 1, 2, 3, 4, 0, 5])
    issame = np.array([True, True, True, False])
    assert grouped(people_of(index, issame)) == {frozenset({0, 1, 2}), frozenset({3, 4}), frozenset({5})}


def test_what_the_source_knows_joins_what_no_genuine_pair_does():
    index, issame = np.array([0, 1, 2, 3]), np.array([True, False])
    known = np.array([7, 7, 7, 2, 2])
    assert grouped(people_of(index, issame, known)) == {frozenset({0, 1, 2}), frozenset({3, 4})}


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 12), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_people_never_divide_a_genuine_pair(people, pairs, seed):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, people, 3 * people)
    index = rng.integers(0, len(true), (pairs, 2))
    issame = true[index[:, 0]] == true[index[:, 1]]
    found = people_of(index.ravel(), issame, np.where(rng.random() < 0.5, true, np.arange(len(true))))
    assert (found[index[issame, 0]] == found[index[issame, 1]]).all()
    # No two people are joined.
    assert all(len(set(true[found == number].tolist())) == 1 for number in np.unique(found))


def pairs(rng, count: int, people: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(distances, truth, index) over `people` with three images each; 0 people: each pair has its own people."""
    issame = np.arange(count) % 2 == 0
    if people:
        one = rng.integers(0, people, count)
        other = np.where(issame, one, (one + rng.integers(1, people, count)) % people)
        index = np.stack([3 * one, 3 * other + 1], axis=1).ravel()
    else:
        index = np.arange(2 * count)
    return np.where(issame, 1.0, 1.6) + 0.5 * rng.standard_normal(count), issame, index


def test_for_independent_pairs_it_is_delongs_variance():
    distances, issame, index = pairs(np.random.default_rng(0), 600, 0)
    people = People(index, issame, people_of(index, issame))
    genuine, impostor = distances[issame], distances[~issame]
    placed = [(genuine[:, None] < impostor).mean(axis=axis) for axis in (1, 0)]
    expected = sum(values.var(ddof=1) / len(values) for values in placed)
    assert people.spread(influence.of_auc(distances, issame)).variance == pytest.approx(expected, rel=0.01)
    assert people.count == 300 + 2 * 300 and not people.few


def test_it_is_leaving_each_person_out():
    """The jackknife itself, for a simple mean, where leaving out is exact."""
    rng = np.random.default_rng(1)
    _, issame, index = pairs(rng, 400, 12)
    values = rng.standard_normal(400)
    person = np.arange(36) // 3
    sides = person[index].reshape(-1, 2)

    def mean(kept: np.ndarray) -> float:
        return (values[issame & kept].mean() + values[~issame & kept].mean()) / 2

    left_out = np.array([mean((sides != one).all(axis=1)) for one in range(12)])
    expected = 11 / 12 * np.square(left_out - left_out.mean()).sum()
    found = People(index, issame, person).spread(influence.of_rate(values, issame), thresholds_chosen=True)
    assert found.variance == pytest.approx(expected, rel=1e-9)


def test_correlated_errors_within_people_widen_it():
    rng = np.random.default_rng(2)
    _, issame, index = pairs(rng, 600, 20)
    person = np.arange(60) // 3
    luck = rng.standard_normal(20)[person][index].reshape(-1, 2).sum(axis=1)
    terms = influence.of_rate(luck, issame)
    alone = People(np.arange(1200), issame, np.arange(1200)).spread(terms).variance
    assert People(index, issame, person).spread(terms).variance > 10 * alone


@pytest.mark.parametrize(("people", "few"), [(FEW, True), (3 * FEW, False)])
def test_too_few_people_are_reported(people, few):
    _, issame, index = pairs(np.random.default_rng(3), 600, people)
    found = People(index, issame, np.arange(3 * people) // 3)
    assert (found.count, found.few) == (people, few)


def test_many_people_of_whom_few_carry_the_pairs_are_few():
    """A thousand people with one pair each say little compared with two that are in all the others."""
    issame = np.arange(6000) % 2 == 0
    index = np.where(issame[:, None], [0, 1], [0, 2])
    index[::30] = 3 + np.arange(400).reshape(-1, 2)
    person = np.concatenate([[0, 0, 1], 2 + np.arange(400) // 2])
    found = People(index.ravel(), issame, person)
    assert found.count == 202 and found.few


@pytest.mark.parametrize("figure", ["auc", "tar", "eer"])
def test_influences_are_derivatives(figure):
    """Pairs that count a little more move the metric by their influence."""
    quantiles = norm.ppf((np.arange(3000) + 0.5) / 3000)
    distances, issame = np.concatenate([1.0 + 0.5 * quantiles, 1.6 + 0.6 * quantiles]), np.arange(6000) < 3000
    roc = roc_curve(distances, issame)
    of, terms = {
        "auc": (lambda roc: roc.auc(), influence.of_auc(distances, issame)),
        "tar": (lambda roc: roc.tar_at_far(0.1), influence.of_tar(distances, issame, 0.1)),
        "eer": (lambda roc: roc.eer(), influence.of_eer(distances, issame, roc.eer())),
    }[figure]
    for kind in (issame, ~issame):
        assert terms[kind].sum() == pytest.approx(0, abs=1e-12)
        nearest = np.flatnonzero(kind)[:1000:20]  # 50 pairs twice
        twice = np.append(np.arange(6000), nearest)
        moved = of(roc_curve(distances[twice], issame[twice])) - of(roc)
        assert moved == pytest.approx(terms[nearest].sum(), rel=0.1, abs=1e-4)
