"""The stored thresholds: what they accept, and which one is chosen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptface_jax.core.errors import InputError
from adaptface_jax.evaluation.results import Results
from adaptface_jax.evaluation.roc import FAR_TARGETS, far_name, roc_curve
from adaptface_jax.evaluation.thresholds import Threshold, choose_threshold, stored_results, thresholds_at_far
from tests.made_results import benchmark_result

STORED = {
    "lfw": benchmark_result(0.9, threshold_at_far={"1e-1": 1.5, "1e-2": 1.25, "1e-3": None}),
    "cfp_fp": benchmark_result(0.8, threshold_at_far={"1e-1": 1.75}),
}


@given(st.integers(0, 2**32 - 1), st.integers(1, 2000), st.integers(1, 50), st.sampled_from([2, 40, 10**6]))
def test_a_threshold_accepts_what_the_roc_says(seed, impostors, genuine, values):
    """Also with ties, which are accepted together or not at all."""
    rng = np.random.default_rng(seed)
    issame = np.arange(impostors + genuine) < genuine
    distances = rng.integers(1, values + 1, len(issame)) / values * np.where(issame, 3.0, 4.0)
    roc, thresholds = roc_curve(distances, issame), thresholds_at_far(distances, issame)
    for far in FAR_TARGETS:
        threshold = thresholds[far_name(far)]
        assert (threshold is None) == (roc.tar_at_far(far) is None)
        if threshold is not None:
            assert (distances < threshold)[~issame].mean() <= far
            assert (distances < threshold)[issame].mean() == pytest.approx(roc.tar_at_far(far))


def test_the_smallest_known_far_and_the_first_benchmark_are_the_default():
    assert choose_threshold(STORED, "r") == Threshold(1.25, "1e-2", "lfw")
    assert choose_threshold(STORED, "r", "cfp_fp") == Threshold(1.75, "1e-1", "cfp_fp")
    assert choose_threshold(STORED, "r", None, 0.1) == Threshold(1.5, "1e-1", "lfw")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((STORED, "r", None, 1e-3), "--far: 0.001 is not known for lfw .* expected one of 1e-1, 1e-2"),
        ((STORED, "r", "agedb", None), "--benchmark: agedb is not in r; expected one of lfw, cfp_fp"),
        (({}, "r"), "r: no benchmark was evaluated"),
        (({"lfw": benchmark_result(1.0)}, "r"), "evaluated before thresholds were stored"),
        (({"lfw": benchmark_result(1.0, threshold_at_far={"1e-1": None})}, "r"), "too few"),
    ],
)
def test_an_unknown_threshold_is_refused_with_the_known_ones(arguments, said):
    with pytest.raises(InputError, match=said):
        choose_threshold(*arguments)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"benchmarks": 3}', '{"benchmarks": {"lfw": 3}}'])
def test_a_file_without_results_is_refused(tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"results\.json: "):
        stored_results(path)


def test_results_are_read(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(Results(STORED).to_json())
    assert stored_results(path).benchmarks == STORED
    with pytest.raises(InputError, match="no such file"):
        stored_results(tmp_path / "absent.json")
