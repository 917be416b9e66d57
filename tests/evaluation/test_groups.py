"""Groups of pairs at one threshold: who is falsely accepted more often, and the spread of accuracies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.evaluation.groups import group_report, group_reports
from adaptface_jax.evaluation.pair_scores import PairScores


def scores_of(seed: int, harder: float, pairs: int = 400) -> PairScores:
    """Genuine pairs near 1, impostor pairs near 2 less `harder`; accepted below 1.5."""
    rng, issame = np.random.default_rng(seed), np.arange(pairs) % 2 == 0
    distance = np.where(issame, 1.0, 2.0 - harder) + rng.normal(0, 0.3, pairs)
    return PairScores(distance, issame, distance < 1.5, np.arange(2 * pairs))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.lists(st.integers(0, 2), min_size=400, max_size=400))
def test_rates_of_groups_weighted_by_size_are_those_of_all(seed, of_pair):
    scores, of_pair = scores_of(seed, 0.2), np.array(of_pair)
    groups = {f"g{number}": of_pair == number for number in range(3)}
    report = group_report(scores, groups)
    impostors = {name: int((chosen & ~scores.issame).sum()) for name, chosen in groups.items()}
    for far, threshold in report.threshold.items():
        accepted = sum(impostors[name] * (found.far[far] or 0) for name, found in report.groups.items())
        assert accepted == pytest.approx((scores.distance[~scores.issame] < threshold).sum())
        assert accepted <= float(far) * 200
    right = sum(found.pairs * found.accuracy for found in report.groups.values())
    assert right == pytest.approx(scores.right.sum())


def test_the_harder_group_has_more_false_accepts_and_the_spread_is_reported():
    entries = {"rfw_african": scores_of(1, 0.4), "rfw_asian": scores_of(2, 0.0)}
    benchmarks = {name: _benchmark(entry) for name, entry in entries.items()}
    (report,) = group_reports(benchmarks, entries).values()
    african, asian = report.groups["rfw_african"], report.groups["rfw_asian"]
    assert african.far["1e-1"] > 2 * asian.far["1e-1"] and african.accuracy < asian.accuracy
    assert report.accuracy_std == pytest.approx((asian.accuracy - african.accuracy) / 2)
    assert report.skewed_error_ratio == pytest.approx((1 - african.accuracy) / (1 - asian.accuracy))
    text = report.text("rfw")
    assert text.startswith("rfw, by group") and f"spread {200 * report.accuracy_std:.2f} points" in text


def test_the_groups_of_one_list():
    scores = scores_of(1, 0.2)
    of_pair = np.arange(400) // 200
    sorted_list = _benchmark(scores, pair_domain=of_pair.astype(np.int32), pair_names=("near", "far"))
    plain = _benchmark(scores)
    reports = group_reports(
        {"mine": sorted_list, "plain": plain, "asian": plain}, dict.fromkeys(("mine", "plain", "asian"), scores)
    )
    assert list(reports) == ["mine"] and list(reports["mine"].groups) == ["near", "far"]


def _benchmark(scores: PairScores, **domains) -> Benchmark:
    return Benchmark([b""] * len(scores.index), scores.index, scores.issame, "made", **domains)
