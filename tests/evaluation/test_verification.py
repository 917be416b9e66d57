# SPDX-License-Identifier: Apache-2.0
"""Verification is InsightFace's evaluation, to the last digit, and clearly reports what it cannot evaluate."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve
from sklearn.model_selection import KFold

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.json_io import to_json
from adaptface_jax.evaluation.distances import pair_distances
from adaptface_jax.evaluation.folds import fold_of_each, folds_line
from adaptface_jax.evaluation.roc import roc_curve
from adaptface_jax.evaluation.verification import DomainVerification, compute_domain_metrics, judge_pairs, verify


@pytest.fixture(scope="module", params=["easy_600", "hard_6000", "unbalanced_1000"])
def golden(request, goldens):
    """Embeddings with the metrics from InsightFace's own code."""
    with np.load(goldens / "verification" / f"{request.param}.npz") as arrays:
        return dict(arrays)


def by_domain(embeddings, issame, pair_domain, names) -> dict[str, DomainVerification]:
    members = np.asarray(pair_domain)[:, None] == np.arange(len(names))
    return compute_domain_metrics(judge_pairs(pair_distances(embeddings), issame), members, names)


def made_pairs(pairs: int, seed: int = 0, noise: float = 1.0, genuine: float = 0.5, width: int = 16):
    rng = np.random.default_rng(seed)
    issame = rng.random(pairs) < genuine
    issame[:2] = True, False
    left = rng.normal(size=(pairs, width))
    right = np.where(issame[:, None], left + noise * rng.normal(size=left.shape), rng.normal(size=left.shape))
    embeddings = np.empty((2 * pairs, width), np.float32)
    embeddings[0::2], embeddings[1::2] = left, right
    return embeddings, issame


def test_the_protocol_gives_insightfaces_numbers(golden):
    figures = verify(golden["embeddings"], golden["issame"], golden["embeddings_flip"])
    np.testing.assert_allclose(figures.fold_accuracies, golden["accuracy_per_fold"], rtol=0, atol=1e-9)
    assert figures.accuracy == pytest.approx(golden["accuracy_mean"], abs=1e-9)
    assert figures.accuracy_std == pytest.approx(golden["accuracy_std"], abs=1e-9)
    assert figures.auc == pytest.approx(golden["auc"], abs=1e-9)


def test_its_distances_give_insightfaces_validation_rate(golden):
    """`calculate_val`: on each fold, the TAR at the threshold where the other folds' interpolated FAR is 1e-3."""
    distances = pair_distances(golden["embeddings"], golden["embeddings_flip"])
    issame, thresholds = golden["issame"], np.arange(0, 4, 0.001)

    def rates(rows, cuts):
        accepted = distances[rows][:, None] < cuts
        return accepted[issame[rows]].mean(axis=0), accepted[~issame[rows]].mean(axis=0)

    folds = []
    for train, test in KFold(10, shuffle=False).split(distances):
        far = rates(train, thresholds)[1]
        cut = np.interp(1e-3, far, thresholds) if far.max() >= 1e-3 else 0.0
        folds.append(np.ravel(rates(test, cut)))
    (val, far), (val_std, _) = np.mean(folds, axis=0), np.std(folds, axis=0)
    expected = [golden["val_at_far_1e3"], golden["val_std"], golden["far"]]
    np.testing.assert_allclose([val, val_std, far], expected, rtol=0, atol=1e-9)


def test_the_flip_test_sums_raw_embeddings_before_it_normalizes():
    image, _ = made_pairs(50)
    mirrored = np.random.default_rng(1).uniform(0.1, 10, (100, 1)) * image[::-1]
    np.testing.assert_array_equal(pair_distances(image, mirrored), pair_distances(image.astype(float) + mirrored))
    unit = [points / np.linalg.norm(points, axis=1, keepdims=True) for points in (image, mirrored)]
    assert np.abs(pair_distances(*unit) - pair_distances(image, mirrored)).max() > 0.1


def test_a_worked_example():
    """Four pairs: orthogonal, equal, opposite and equal; two folds of two, thresholds chosen on the other one."""
    east, north = [1.0, 0.0], [0.0, 3.0]
    embeddings = np.array([east, north, east, [5.0, 0.0], east, [-2.0, 0.0], north, north])
    issame = np.array([False, True, False, True])
    np.testing.assert_allclose(pair_distances(embeddings), [2, 0, 4, 0], atol=1e-12)
    figures = verify(embeddings, issame, folds=2)
    assert figures.fold_accuracies == (1.0, 1.0)
    assert figures.threshold == pytest.approx(0.01)  # the first maximum, on both folds
    assert (figures.auc, figures.eer, figures.best_threshold_accuracy) == (1.0, 0.0, 1.0)
    assert figures.tar_at_far == {"1e-1": None, "1e-2": None, "1e-3": None, "1e-4": None}


@settings(max_examples=30, deadline=None)
@given(st.integers(10, 90), st.integers(0, 10_000), st.floats(0.1, 4), st.integers(2, 10))
def test_folds_are_those_of_the_loop_over_thresholds(pairs, seed, noise, folds):
    embeddings, issame = made_pairs(pairs, seed, noise)
    distances = pair_distances(embeddings)
    expected = []
    for train, test in KFold(folds, shuffle=False).split(distances):
        scores = [((distances[train] < cut) == issame[train]).mean() for cut in np.arange(0, 4, 0.01)]
        cut = np.arange(0, 4, 0.01)[np.argmax(scores)]
        expected.append(((distances[test] < cut) == issame[test]).mean())
    assert verify(embeddings, issame, folds=folds).fold_accuracies == pytest.approx(tuple(expected), abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 100))
def test_a_length_means_nothing_and_a_turn_changes_nothing(seed, scale):
    embeddings, _ = made_pairs(60, seed)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(16, 16)))[0]
    lengths = np.random.default_rng(seed + 1).uniform(0.1, 10, (120, 1))
    np.testing.assert_allclose(
        pair_distances(scale * lengths * embeddings.astype(float) @ turn), pair_distances(embeddings), atol=1e-9
    )


def test_embeddings_may_come_in_half_precision():
    import ml_dtypes

    embeddings, issame = made_pairs(200, noise=0.3)
    exact = verify(embeddings, issame)
    rounded = verify(embeddings.astype(ml_dtypes.bfloat16), issame)
    assert rounded.auc == pytest.approx(exact.auc, abs=1e-3)


def test_json_has_the_plain_names():
    figures = json.loads(to_json(verify(*made_pairs(400))))
    assert set(figures) >= {"accuracy", "accuracy_std", "fold_accuracies", "threshold", "auc", "eer", "pairs"}
    assert list(figures["tar_at_far"]) == ["1e-1", "1e-2", "1e-3", "1e-4"]
    assert figures["tar_at_far"]["1e-4"] is None


def test_domains_are_evaluated_at_the_benchmarks_own_thresholds():
    embeddings, issame = made_pairs(300)
    domain = np.repeat([0, 1, 2], 100)
    overall = verify(embeddings, issame)
    domains = by_domain(embeddings, issame, domain, ("frontal", "posed", "dark"))
    assert list(domains) == ["frontal", "posed", "dark"]
    assert np.mean([figures.accuracy for figures in domains.values()]) == pytest.approx(overall.accuracy)
    posed = roc_curve(pair_distances(embeddings[200:400]), issame[100:200])
    assert domains["posed"].auc == pytest.approx(posed.auc())


def test_a_domain_of_one_kind_has_an_accuracy_and_no_auc():
    embeddings, issame = made_pairs(100)
    domain = np.where(issame, 0, -1)
    domains = by_domain(embeddings, issame, domain, ("alike", "absent"))
    assert list(domains) == ["alike"]
    assert domains["alike"].auc is None
    assert domains["alike"].pairs == issame.sum()


EMBEDDINGS, ISSAME = made_pairs(20)


def changed(row: int, value: float) -> np.ndarray:
    embeddings = EMBEDDINGS.copy()
    embeddings[row] = value
    return embeddings


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((EMBEDDINGS[:-1], ISSAME), "rows 2i and 2i"),
        ((EMBEDDINGS[0], ISSAME), "expected .2N, D."),
        ((np.empty((0, 16)), ISSAME[:0]), "expected .2N, D."),
        ((EMBEDDINGS, ISSAME[:-1]), "expected .20,., one per pair"),
        ((EMBEDDINGS, np.arange(20)), "expected booleans"),
        ((changed(7, np.nan), ISSAME), "row 7 .* non-finite"),
        ((changed(7, np.inf), ISSAME), "row 7 .* non-finite"),
        ((changed(9, 0), ISSAME), "row 9 is zero"),
        ((EMBEDDINGS, ISSAME, -EMBEDDINGS), "row 0 is zero"),
        ((EMBEDDINGS, ISSAME, EMBEDDINGS[:4]), "flipped: shape"),
        ((EMBEDDINGS[:8], ISSAME[:4], None, 10), "folds: 10 for 4 pairs"),
        ((EMBEDDINGS, np.ones(20, bool)), "all 20 pairs are genuine"),
        ((EMBEDDINGS, np.zeros(20, bool)), "all 20 pairs are impostor"),
        ((["a", "b"], ISSAME), "not an array of numbers"),
    ],
)
def test_what_cannot_be_evaluated_gives_one_line(arguments, words):
    with pytest.raises(InputError, match=words) as error:
        verify(*arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "members", [np.zeros((19, 2), bool), np.zeros((20, 2), int), np.zeros((20, 3), bool), np.zeros(20, bool)]
)
def test_domains_that_do_not_fit_are_refused(members):
    with pytest.raises(InputError, match="expected booleans, 20 pairs x 2 domains"):
        compute_domain_metrics(judge_pairs(pair_distances(EMBEDDINGS), ISSAME), members, ("a", "b"))


def test_metrics_are_scikit_learns(golden):
    distances = pair_distances(golden["embeddings"], golden["embeddings_flip"])
    issame, scores = golden["issame"].astype(bool), 1 - distances / 2
    found = verify(golden["embeddings"], issame, golden["embeddings_flip"])
    far, tar, _ = sklearn_roc_curve(issame, scores, drop_intermediate=False)
    assert found.auc == pytest.approx(roc_auc_score(issame, scores), abs=1e-9)
    for name, rate in found.tar_at_far.items():
        target = float(name)
        expected = None if target * (~issame).sum() < 10 else tar[far <= target].max()
        assert rate == (None if expected is None else pytest.approx(expected, abs=1e-9))
    crossing = brentq(lambda rate: np.interp(rate, far, tar) + rate - 1, 0, 1, xtol=1e-13)
    assert found.eer == pytest.approx(crossing, abs=1e-9)
    genuine, impostor = scores[issame], scores[~issame]
    pooled = np.sqrt((np.square(genuine - genuine.mean()).mean() + np.square(impostor - impostor.mean()).mean()) / 2)
    assert found.d_prime == pytest.approx((genuine.mean() - impostor.mean()) / pooled, abs=1e-9)
    assert found.genuine.quantiles["0.5"] == pytest.approx(np.median(genuine), abs=1e-9)
    assert (found.genuine.pairs, found.impostor.pairs) == (issame.sum(), (~issame).sum())
    assert found.impostor.std == pytest.approx(impostor.std(), abs=1e-9)
    for value, (low, high) in ((found.auc, found.intervals.auc), (found.accuracy, found.intervals.accuracy)):
        assert low <= value <= high


def test_folds_of_the_protocol_need_not_be_contiguous():
    embeddings, issame = made_pairs(300)
    fold = np.arange(300) // 30
    order = np.random.default_rng(0).permutation(300)
    rows = np.stack([2 * order, 2 * order + 1], axis=1).ravel()
    mixed = verify(embeddings[rows], issame[order], folds=fold[order])
    assert mixed.fold_accuracies == pytest.approx(verify(embeddings, issame).fold_accuracies)


@given(st.lists(st.booleans(), min_size=4, max_size=200))
def test_folds_that_no_list_gives_hold_both_kinds(truth):
    """Contiguous tenths if these are balanced, as InsightFace splits a pack; else tenths of each kind."""
    issame = np.array(truth)
    if min(issame.sum(), (~issame).sum()) < 2:
        with pytest.raises(InputError, match="expected at least two of each kind"):
            fold_of_each(None, issame)
        return
    fold = fold_of_each(None, issame)
    sizes, held = np.bincount(fold), np.bincount(fold, issame)
    assert held.min() > 0 and (sizes > held).all()
    if folds_line(None, issame):
        assert all(np.ptp(np.bincount(fold[kind])) <= 1 for kind in (issame, ~issame))
        assert len(sizes) == min(10, issame.sum(), (~issame).sum())
    else:
        np.testing.assert_array_equal(fold, fold_of_each(10, issame))


def test_a_list_in_lfws_order_and_the_same_list_sorted_by_truth_have_the_same_folds():
    embeddings, issame = made_pairs(600)
    issame = np.arange(600) % 60 < 30
    order = np.argsort(~issame, kind="stable")
    rows = np.stack([2 * order, 2 * order + 1], axis=1).ravel()
    listed, by_truth = verify(embeddings, issame), verify(embeddings[rows], issame[order])
    assert by_truth.fold_accuracies == pytest.approx(listed.fold_accuracies)
    assert not folds_line(None, issame) and "stratified" in folds_line(None, issame[order])
    assert "2 of the list's own 2 folds" in folds_line(np.arange(600) // 300, issame[order])


def test_a_single_fold_is_no_fold():
    """There is no other to take a threshold from: every pair would be judged at the first of the grid."""
    embeddings, issame = made_pairs(300)
    alone = np.zeros(300, int)
    assert verify(embeddings, issame, folds=alone).fold_accuracies == verify(embeddings, issame).fold_accuracies
    assert "all pairs in one fold" in folds_line(alone, issame)
    assert "one fold, and" in folds_line(alone, np.sort(issame)) and "stratified" in folds_line(alone, np.sort(issame))
    with pytest.raises(InputError, match=r"expected 2\.\.300"):
        verify(embeddings, issame, folds=1)


@pytest.mark.parametrize("folds", [np.zeros(19, int), np.zeros(20)])
def test_folds_that_do_not_fit_are_refused(folds):
    with pytest.raises(InputError, match="expected one integer per pair"):
        verify(EMBEDDINGS, ISSAME, folds=folds)
