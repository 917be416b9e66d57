"""Intervals hold the true value as often as they say; the paired test finds differences where there are some."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, norm
from sklearn.metrics import roc_auc_score

from adaptface_jax.core.errors import InputError
from adaptface_jax.evaluation.pair_scores import PairScores
from adaptface_jax.evaluation.roc import roc_curve
from adaptface_jax.evaluation.statistics import intervals as bootstrap
from adaptface_jax.evaluation.statistics.paired_test import compare
from adaptface_jax.evaluation.verification import compute_metrics, judge_pairs

DRAWS = 200
SPREAD = 0.25  # of Gaussian distances, genuine ones `gap` below impostors: what is true of them is known


@pytest.fixture(autouse=True)
def _fewer_resamples(monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 300)


def drawn(rng, pairs: int, gap: float, shared: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Distances and truth; ten folds of as many genuine as impostor pairs. shared: noise with another model, [N]."""
    issame = np.arange(pairs) // (pairs // 20) % 2 == 0
    own = rng.normal(size=pairs) * (1.0 if np.isscalar(shared) else np.sqrt(0.4))
    return (np.where(issame, 1.8 - gap, 1.8) + SPREAD * (own + np.sqrt(0.6) * shared)).clip(0, 4), issame


def scores(distances: np.ndarray, issame: np.ndarray) -> PairScores:
    accepted = judge_pairs(distances, issame).accepted
    return PairScores(distances, issame, accepted, np.arange(2 * len(issame), dtype=np.int32))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pairs", "gap", "names"),
    [
        (600, 0.6, ("accuracy", "auc", "1e-1")),
        (2000, 0.6, ("accuracy", "auc", "1e-1", "1e-2")),
        (2000, 1.0, ("accuracy", "auc", "1e-1", "1e-2")),
        (2000, 1.3, ("accuracy", "auc", "1e-1", "1e-2")),  # ten errors in all, an AUC of 0.9999, a TAR of 0.99996
    ],
)
def test_intervals_cover_the_truth(pairs, gap, names):
    rng = np.random.default_rng(0)
    true = {"accuracy": norm.cdf(gap / 2 / SPREAD), "auc": norm.cdf(gap / SPREAD / np.sqrt(2))}
    true |= {far: norm.cdf(norm.ppf(float(far)) + gap / SPREAD) for far in ("1e-1", "1e-2")}
    held = dict.fromkeys(names, 0)
    for _ in range(DRAWS):
        found = compute_metrics(judge_pairs(*drawn(rng, pairs, gap))).intervals
        ends = {"accuracy": found.accuracy, "auc": found.auc, **found.tar_at_far}
        for name in names:
            low, high = ends[name]
            held[name] += low <= true[name] <= high
    assert all(0.90 <= count / DRAWS <= 0.99 for count in held.values()), held


def test_where_no_false_accepts_are_expected_there_is_no_interval():
    found = compute_metrics(judge_pairs(*drawn(np.random.default_rng(0), 600, 0.6)))
    assert found.tar_at_far["1e-2"] is None and found.intervals.tar_at_far["1e-2"] is None


def test_without_errors_the_interval_is_not_a_point():
    """No error in 600 pairs leaves room for up to 3 in 600 (the rule of three; Wilson says 3.8)."""
    found = compute_metrics(judge_pairs(*drawn(np.random.default_rng(0), 600, 4.0)))
    assert found.accuracy == found.auc == 1.0
    for low, high in (found.intervals.accuracy, found.intervals.auc, found.intervals.tar_at_far["1e-1"]):
        assert 0.98 < low < 0.997 and high == 1.0


def test_a_rate_has_the_interval_of_its_proportion():
    """With a sure threshold it is Jeffreys'; a threshold that may be another one widens it."""
    sure = bootstrap.rate_interval(np.full(1000, 0.99), 300, 0.99)
    np.testing.assert_allclose(sure, beta.ppf([0.025, 0.975], 297.5, 3.5), atol=1e-3)
    low, high = bootstrap.rate_interval(np.array([0.98, 0.99, 1.0] * 300), 300, 0.99)
    assert low < sure[0] - 0.004 and high > sure[1] + 0.0005


def test_a_resample_that_draws_every_pair_once_has_the_figures_themselves():
    distances, issame = drawn(np.random.default_rng(1), 2000, 0.6)
    distances = distances.round(2)  # ties
    once = [np.ones((1, 1000), np.uint8)] * 2
    ranks = bootstrap.Ranks(np.sort(distances[issame]), np.sort(distances[~issame]))
    roc = roc_curve(distances, issame)
    expected = [roc.auc(), roc.tar_at_far(1e-1), roc.tar_at_far(1e-2)]
    area, *accepted = np.ravel(ranks.auc_and_accepted(*once, [1e-1, 1e-2]))
    np.testing.assert_allclose([area, *np.divide(accepted, 1000)], expected, rtol=0, atol=1e-12)


def test_a_resample_has_the_auc_of_its_copies():
    distances, issame = drawn(np.random.default_rng(2), 200, 0.6)
    genuine, impostor = np.sort(distances[issame]), np.sort(distances[~issame])
    counts = next(bootstrap.resamples(100, 100))
    assert all((count.sum(axis=1) == 100).all() and len(count) for count in counts)
    found = bootstrap.Ranks(genuine, impostor).auc_and_accepted(*counts, [])[0]
    for row in range(3):
        copies = np.concatenate([np.repeat(genuine, counts[0][row]), np.repeat(impostor, counts[1][row])])
        assert found[row] == pytest.approx(roc_auc_score(np.arange(200) < 100, -copies), abs=1e-9)


def test_the_same_pairs_have_the_same_intervals():
    first, second = (compute_metrics(judge_pairs(*drawn(np.random.default_rng(3), 600, 0.6))) for _ in range(2))
    assert first == second


@pytest.mark.slow
def test_equal_models_seldom_differ():
    """Two models of one quality, on pairs that are equally hard for both: at most 5% of p-values are below 0.05."""
    rng, alarms, held = np.random.default_rng(4), np.zeros(2), 0
    for _ in range(DRAWS):
        shared = rng.normal(size=600)
        found = compare(*(scores(*drawn(rng, 600, 0.7, shared)) for _ in range(2)))
        alarms += [found.accuracy_p < 0.05, found.auc_p < 0.05]
        held += found.accuracy_interval[0] <= 0 <= found.accuracy_interval[1]
    # Two standard errors of the count above 5%.
    assert (alarms / DRAWS <= 0.08).all(), alarms
    assert held / DRAWS >= 0.93


def test_a_better_model_is_found():
    rng = np.random.default_rng(5)
    shared = rng.normal(size=6000)
    worse, better = (scores(*drawn(rng, 6000, gap, shared)) for gap in (0.6, 0.75))
    found = compare(worse, better)
    assert found.accuracy_p < 1e-6 and found.auc_p < 1e-6
    assert 0.02 < found.accuracy_interval[0] < found.accuracy_difference < found.accuracy_interval[1] < 0.08
    assert found.accuracy_difference == pytest.approx((found.only_second - found.only_first) / 6000)
    areas = [roc_curve(entry.distance, entry.issame).auc() for entry in (worse, better)]
    assert found.auc_difference == pytest.approx(areas[1] - areas[0])
    turned = compare(better, worse)
    assert (turned.accuracy_difference, turned.accuracy_p) == (-found.accuracy_difference, found.accuracy_p)


def test_a_model_does_not_differ_from_itself():
    entry = scores(*drawn(np.random.default_rng(6), 600, 0.6))
    found = compare(entry, entry)
    assert (found.accuracy_difference, found.accuracy_p, found.auc_difference, found.auc_p) == (0, 1, 0, 1)
    assert found.accuracy_interval[0] < 0 < found.accuracy_interval[1]


@pytest.mark.slow
def test_delongs_error_is_that_of_resampling():
    rng = np.random.default_rng(7)
    shared = rng.normal(size=600)
    entries = [scores(*drawn(rng, 600, gap, shared)) for gap in (0.5, 0.6)]
    found = compare(*entries)
    differences = []
    for _ in range(400):
        rows = np.concatenate([rng.choice(np.flatnonzero(entries[0].issame == kind), 300) for kind in (True, False)])
        areas = [roc_auc_score(entry.issame[rows], -entry.distance[rows]) for entry in entries]
        differences.append(areas[1] - areas[0])
    width = (found.auc_interval[1] - found.auc_interval[0]) / 2 / norm.ppf(0.975)
    assert width == pytest.approx(np.std(differences), rel=0.12)


def test_other_pairs_are_not_compared():
    first, second = (scores(*drawn(np.random.default_rng(8), pairs, 0.6)) for pairs in (600, 400))
    with pytest.raises(InputError, match=r"different pairs \(600 and 400\)"):
        compare(first, second)
