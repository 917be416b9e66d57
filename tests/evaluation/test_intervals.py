"""Intervals contain the expectation over people and images as often as stated; `benchmarks/intervals.py` has more."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from adaptface_jax.evaluation.roc import roc_curve
from adaptface_jax.evaluation.statistics import jackknife
from adaptface_jax.evaluation.statistics.intervals import rate_interval, subset_intervals
from adaptface_jax.evaluation.statistics.jackknife import Spread
from adaptface_jax.evaluation.verification import Verification, compute_metrics, judge_pairs
from benchmarks.simulated_people import DESIGNS, HIGH, INDEPENDENT, MIDDLING, Design, People

SHARED = DESIGNS[1]


def figures(design: Design, level: float, rng: np.random.Generator, ignored: bool = False) -> Verification:
    """For one draw. ignored: as if every pair had its own people."""
    scores = People(design, rng).seen(rng, level)
    index, person = (None, None) if ignored else (scores.index, scores.person)
    return compute_metrics(judge_pairs(scores.distance, scores.issame, index=index, person=person))


def coverage(design: Design, level: float, draws: int, ignored: bool = False) -> dict[str, float]:
    """Share of the intervals that contain the mean over all draws, for each metric."""
    rng = np.random.default_rng(1)
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for _ in range(draws):
        found = figures(design, level, rng, ignored)
        around = found.intervals
        rows.setdefault("accuracy", []).append((found.accuracy, *around.accuracy))
        rows.setdefault("auc", []).append((found.auc, *around.auc))
        rows.setdefault("eer", []).append((found.eer, *around.eer))
        rows.setdefault("tar", []).append((found.tar_at_far["1e-1"], *around.tar_at_far["1e-1"]))
    held = {}
    for name, values in rows.items():
        value, low, high = np.array(values).T
        held[name] = np.mean((low <= value.mean()) & (value.mean() <= high))
    return held


def test_intervals_cover_the_expectation_over_people():
    """120 draws: 95% within three standard errors of 2 points."""
    assert all(held >= 0.89 for held in coverage(SHARED, HIGH, 120).values())


def test_taking_pairs_for_independent_covers_less():
    held = coverage(SHARED, HIGH, 120, ignored=True)
    assert held["auc"] < 0.85 and held["accuracy"] < 0.89


@pytest.mark.slow
@pytest.mark.parametrize("level", [MIDDLING, HIGH])
@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)
def test_intervals_cover_in_every_design(design, level):
    """The 93 to 97% of the long form, give or take two standard errors of 300 draws."""
    held = coverage(design, level, 300)
    assert all(0.93 - 0.029 <= share <= 0.97 + 0.02 for share in held.values()), held


def test_many_people_of_one_pair_each_are_a_proportion():
    """For independent pairs at a fixed threshold the interval is that of as many coin tosses."""
    found = figures(INDEPENDENT, HIGH, np.random.default_rng(2))
    low, high = found.intervals.tar_at_far["1e-1"]
    error = np.sqrt(found.tar_at_far["1e-1"] * (1 - found.tar_at_far["1e-1"]) / 300)
    assert high - low == pytest.approx(2 * norm.ppf(0.975) * error, rel=0.5)
    assert found.intervals.people == 900 and not found.intervals.few


def test_an_interval_says_how_many_people_it_rests_on():
    many, few = (
        figures(design, HIGH, np.random.default_rng(3)).intervals for design in (SHARED, Design("", 5, 20, 600))
    )
    assert (many.people, many.few, many.resting_on) == (40, False, "40 people")
    assert (few.people, few.few, few.resting_on) == (5, True, "5 people: too few to tell")
    assert few.auc[1] - few.auc[0] > 2 * (many.auc[1] - many.auc[0])


def test_people_whom_the_source_knows_widen_intervals_of_few_genuine_pairs():
    """1,500 genuine pairs do not join the 50 images of each of 60 people."""
    rng = np.random.default_rng(4)
    scores = People(DESIGNS[3], rng).seen(rng, HIGH)
    known, unknown = (
        compute_metrics(judge_pairs(scores.distance, scores.issame, index=scores.index, person=person)).intervals
        for person in (scores.person, None)
    )
    assert known.people == 60 and unknown.people > 500
    assert known.auc[1] - known.auc[0] > unknown.auc[1] - unknown.auc[0]


def separable(pairs: int) -> Verification:
    issame = np.arange(pairs) // (pairs // 20) % 2 == 0
    noise = np.random.default_rng(0).normal(0, 0.001, pairs)
    return compute_metrics(judge_pairs(np.where(issame, 0.5, 2.0) + noise, issame))


def test_without_errors_the_interval_is_not_a_point():
    """No error in 600 pairs leaves room for some in 600 (the rule of three: 3 in 600)."""
    found = separable(600)
    assert found.accuracy == found.auc == 1.0 and found.eer == 0.0
    for low, high in (found.intervals.accuracy, found.intervals.auc, found.intervals.tar_at_far["1e-1"]):
        assert 0.95 < low < 0.997 and high == 1.0
    low, high = found.intervals.eer
    assert low == 0.0 and 0.003 < high < 0.05


def test_where_no_false_accepts_are_expected_there_is_no_interval():
    found = separable(600)
    assert found.tar_at_far["1e-2"] is None and found.intervals.tar_at_far["1e-2"] is None


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.3, 0.999, 1.0])
def test_an_interval_contains_its_estimate_and_stays_in_0_to_1(rate):
    for trials, degrees in ((4.0, 2.0), (1e6, 500.0)):
        low, high = rate_interval(rate, Spread(1.0, degrees), trials)
        assert 0 <= low <= rate <= high <= 1 and low < high


def test_the_same_pairs_have_the_same_intervals():
    first, second = (figures(SHARED, HIGH, np.random.default_rng(5)) for _ in range(2))
    assert first == second


def test_with_the_fewest_pairs_every_interval_is_finite():
    """The contributions of people may cancel out."""
    for seed in range(500):
        rng = np.random.default_rng(seed)
        pairs, people = int(rng.integers(2, 7)), int(rng.integers(2, 5))
        issame = np.arange(pairs) % 2 == 0
        first = rng.integers(people, size=pairs)
        second = np.where(issame, first, (first + rng.integers(1, people, size=pairs)) % people)
        known = jackknife.People(np.stack([first, second], axis=1).ravel(), issame, np.arange(people))
        distances, right = rng.integers(0, 4, pairs) / 4, rng.random(pairs) < 0.5
        found = subset_intervals(distances, issame, right, known, roc_curve(distances, issame).auc())
        assert np.isfinite([*found.accuracy, *found.auc]).all(), seed
