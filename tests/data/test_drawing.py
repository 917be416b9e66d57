"""Pairs drawn from identities, whatever the people, their images and conditions."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptface_jax.data.benchmarks.benchmark import FOLDS
from adaptface_jax.data.benchmarks.drawing import PEOPLE_OF_FOLD, draw_pairs, fold_count


def drawn(labels, membership, wanted, seed=0, people=None):
    people = np.unique(labels) if people is None else people
    return draw_pairs(np.asarray(labels), membership, people, wanted, np.random.default_rng(seed))


@st.composite
def sets(draw):
    """Labels [N] of 2 to 12 people, and membership [N, K] of 1 to 3 conditions, a third of the images in none."""
    counts = draw(st.lists(st.integers(1, 8), min_size=2, max_size=12))
    labels = np.repeat(np.arange(len(counts)), counts)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return labels, (rng.random((len(labels), draw(st.integers(1, 3)))) < 0.5).astype(np.uint8)


@given(sets(), st.integers(1, 60), st.integers(0, 9))
@settings(max_examples=150)
def test_invariants_for_any_set(made, half, seed):
    labels, membership = made
    pairs = drawn(labels, membership, 2 * half, seed)
    assert pairs == drawn(labels, membership, 2 * half, seed)
    assert len(pairs) <= 2 * half
    assert len({frozenset((pair.first, pair.second)) for pair in pairs}) == len(pairs)
    assert all(pair.first != pair.second for pair in pairs)
    assert all((labels[pair.first] == labels[pair.second]) == pair.same for pair in pairs)
    assert all(membership[[pair.first, pair.second]].any(axis=1).all() for pair in pairs)
    people = Counter(label for pair in pairs for label in {(labels[i], pair.fold) for i in (pair.first, pair.second)})
    assert len({person for person, _ in people}) == len(people), "a person is in two folds"
    # Of every fold and every kind of pair, as many genuine ones as impostors.
    kinds = [(pair.fold, frozenset((tuple(membership[pair.first]), tuple(membership[pair.second])))) for pair in pairs]
    genuine = Counter(kind for kind, pair in zip(kinds, pairs, strict=True) if pair.same)
    assert genuine == Counter(kind for kind, pair in zip(kinds, pairs, strict=True) if not pair.same)


def test_every_existing_pair_can_be_drawn():
    """Three people of four images: 18 genuine pairs, 48 impostors."""
    pairs = drawn(np.repeat([0, 1, 2], 4), np.ones((12, 1), np.uint8), 1000)
    assert Counter(pair.same for pair in pairs) == {True: 18, False: 18}


def test_people_are_drawn_evenly_though_one_has_most_images():
    labels = np.repeat(np.arange(30), [400, *[12] * 29])
    pairs = drawn(labels, np.ones((len(labels), 1), np.uint8), 3000)
    for same, low, high in ((True, 48, 52), (False, 90, 110)):
        uses = Counter(labels[i] for pair in pairs if pair.same == same for i in (pair.first, pair.second))
        each = np.array([uses[person] for person in range(30)]) / (2 if same else 1)
        assert len(pairs) == 3000 and low <= each.min() and each.max() <= high


def test_cells_get_equally_many_while_they_last():
    """Two separate conditions and an ordinary class: six cells; if one is rare, the others fill in."""
    rng = np.random.default_rng(0)
    kind = rng.choice(3, 1200, p=[0.1, 0.3, 0.6])
    membership = np.eye(3, dtype=np.uint8)[kind]
    pairs = drawn(np.repeat(np.arange(60), 20), membership, 1200)
    cells = Counter(tuple(sorted((kind[pair.first], kind[pair.second]))) for pair in pairs)
    assert len(pairs) == 1200 and len(cells) == 6
    assert cells[0, 0] == min(cells.values()) and max(cells.values()) - sorted(cells.values())[1] <= 40


@pytest.mark.parametrize(
    ("people", "folds"), [(2, 1), (5, 1), (6, 2), (17, 5), (2 * PEOPLE_OF_FOLD, 2), (10**4, FOLDS)]
)
def test_folds_have_different_people_where_there_are_enough(people, folds):
    assert fold_count(people) == folds


def test_large_sets_are_drawn_without_listing_their_pairs():
    """Ten people of 40,000 images: 10^9 pairs of each."""
    labels = np.repeat(np.arange(10), 40_000)
    assert len(drawn(labels, np.ones((len(labels), 1), np.uint8), 600)) == 600
