"""The paired test calls equal models equal and better ones better, on the people that both were tested on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import ttest_rel

from adaptface_jax.core.errors import InputError
from adaptface_jax.evaluation.pair_scores import PairScores
from adaptface_jax.evaluation.roc import roc_curve
from adaptface_jax.evaluation.statistics.paired_test import Comparison, compare, compare_seeds
from benchmarks.simulated_people import DESIGNS, HIGH, MIDDLING, Design, People

SHARED, LARGE = DESIGNS[1], DESIGNS[3]


def alarms(design: Design, level: float, seeds: int, draws: int) -> np.ndarray:
    """Share of equal recipes that are called different, by accuracy and by AUC."""
    rng, count = np.random.default_rng(1), np.zeros(2)
    for _ in range(draws):
        people = People(design, rng)
        recipes = [[people.seen(rng, level, of_seed=0.05 * (seeds > 1)) for _ in range(seeds)] for _ in range(2)]
        found = compare_seeds(*recipes)
        count += [found.accuracy_p < 0.05, found.auc_p < 0.05]
    return count / draws


def test_equal_models_seldom_differ():
    """100 draws: three standard errors above 5% are 11%."""
    assert (alarms(SHARED, MIDDLING, 1, 100) <= 0.11).all()


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("design", DESIGNS[:3], ids=lambda design: design.name)
def test_equal_recipes_seldom_differ_in_any_design(design, seeds):
    """The 6% of the long form, and two standard errors of 200 draws."""
    assert (alarms(design, MIDDLING, seeds, 200) <= 0.06 + 0.034).all()


def better_and_worse(seeds: int = 1) -> tuple[list[PairScores], list[PairScores]]:
    rng = np.random.default_rng(2)
    people = People(LARGE, rng)
    worse, better = ([people.seen(rng, level, of_seed=0.02) for _ in range(seeds)] for level in (1.2, HIGH))
    return worse, better


def test_a_better_model_is_found():
    (worse,), (better,) = better_and_worse()
    found = compare(worse, better)
    assert found.accuracy_p < 1e-4 and found.auc_p < 1e-4 and not found.few and found.people == 60
    assert 0.02 < found.accuracy_interval[0] < found.accuracy_difference < found.accuracy_interval[1]
    assert found.accuracy_difference == pytest.approx((found.only_second - found.only_first) / 3000)
    areas = [roc_curve(entry.distance, entry.issame).auc() for entry in (worse, better)]
    assert found.auc_difference == pytest.approx(areas[1] - areas[0])
    turned = compare(better, worse)
    assert turned.accuracy_difference == pytest.approx(-found.accuracy_difference)
    assert turned.accuracy_p == pytest.approx(found.accuracy_p)


def test_recipes_over_seeds_are_compared_by_their_means():
    worse, better = better_and_worse(seeds=3)
    found, each = compare_seeds(worse, better), [compare(*pair) for pair in zip(worse, better, strict=True)]
    assert found.seeds == 3 and found.auc_p < 1e-3
    assert found.auc_difference == pytest.approx(np.mean([one.auc_difference for one in each]))
    assert found.only_second == sum(one.only_second for one in each)


def test_seeds_that_disagree_widen_the_interval():
    """The same mean difference, for seeds that agree and for seeds that do not."""
    (worse, *_), (better, *_) = better_and_worse()
    agreed = compare_seeds([worse, worse], [better, better])
    apart = compare_seeds([worse, better], [better, better])
    assert apart.auc_difference == pytest.approx(agreed.auc_difference / 2)
    assert apart.auc_interval[1] - apart.auc_interval[0] > 2 * (agreed.auc_interval[1] - agreed.auc_interval[0])


def test_where_seeds_share_nothing_it_is_the_t_test_of_the_seeds():
    """Each run has its own noise from people and from training: only the 4 seeds are shared."""
    rng = np.random.default_rng(9)
    people = People(LARGE, rng)
    recipes = [[people.seen(rng, 1.2, of_seed=0.1) for _ in range(4)] for _ in range(2)]
    areas = np.array([[roc_curve(entry.distance, entry.issame).auc() for entry in recipe] for recipe in recipes])
    over_seeds = ttest_rel(areas[1], areas[0])
    found = compare_seeds(*recipes)
    assert found.auc_p == pytest.approx(over_seeds.pvalue, abs=0.002)
    assert found.auc_interval == pytest.approx(over_seeds.confidence_interval(0.95), rel=0.01)


def test_a_model_does_not_differ_from_itself():
    (entry,), _ = better_and_worse()
    found = compare(entry, entry)
    assert (found.accuracy_difference, found.accuracy_p, found.auc_difference, found.auc_p) == (0, 1, 0, 1)
    assert found.accuracy_interval[0] < 0 < found.accuracy_interval[1]


def test_domains_are_compared_separately():
    """The second model differs only in the first half of the pairs."""
    (worse,), (better,) = better_and_worse()
    half = np.arange(3000) < 1500
    mixed = dataclasses.replace(
        worse,
        distance=np.where(half, better.distance, worse.distance),
        accepted=np.where(half, better.accepted, worse.accepted),
    )
    members = np.stack([half, ~half, worse.issame, np.zeros(3000, bool)], axis=1)
    names = np.array(["changed", "same", "genuine alone", "nobody"])
    first, second = (dataclasses.replace(entry, domain=members, domain_names=names) for entry in (worse, mixed))
    found = compare(first, second).domains
    assert list(found) == ["changed", "same"]
    assert found["changed"].accuracy_p < 1e-3 and found["changed"].pairs == 1500
    assert (found["same"].accuracy_difference, found["same"].auc_p) == (0, 1)


def test_few_people_are_too_few_however_clear_the_difference():
    rng = np.random.default_rng(3)
    people = People(Design("", 4, 20, 600), rng)
    found = compare(people.seen(rng, MIDDLING), people.seen(rng, HIGH))
    assert found.few and found.people == 4


def test_a_comparison_is_written_as_json():
    (worse,), (better,) = better_and_worse()
    found = compare(worse, better)
    assert Comparison(**found.to_json()) == dataclasses.replace(found, domains={})


def test_other_pairs_are_not_compared():
    rng = np.random.default_rng(4)
    first, second = (People(Design("", 20, 10, pairs), rng).seen(rng, HIGH) for pairs in (600, 400))
    with pytest.raises(InputError, match=r"different pairs \(600 and 400\)"):
        compare(first, second)
