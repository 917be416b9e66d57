"""How much likelier a distance is for one person than for two, and what a threshold accepts falsely, in words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import norm

from adaptface_jax.evaluation.likelihood import Calibration
from adaptface_jax.evaluation.pair_scores import PairScores
from adaptface_jax.evaluation.risk import Risk, counted, measured_risk, passing


def normal_pairs(genuine: int, impostors: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Distances around 1 and 2, standard deviation 0.3."""
    issame = np.arange(genuine + impostors) < genuine
    rng = np.random.default_rng(seed)
    return np.where(issame, 1.0, 2.0) + 0.3 * rng.standard_normal(len(issame)), issame


@pytest.mark.parametrize("impostors", [20_000, 2_000])
def test_the_ratio_is_that_of_the_densities_however_many_pairs_of_each_kind_there_are(impostors):
    calibration = Calibration(*normal_pairs(20_000, impostors))
    for distance in (1.3, 1.5, 1.7):
        true = norm.pdf(distance, 1, 0.3) / norm.pdf(distance, 2, 0.3)
        assert np.log10(calibration.of(distance).ratio) == pytest.approx(np.log10(true), abs=0.2)
        assert calibration.of(distance).limit == ""


@given(st.integers(2, 200), st.integers(2, 200), st.integers(0, 2**32 - 1))
def test_beyond_the_pairs_range_it_is_bounded_by_their_number(genuine, impostors, seed):
    calibration = Calibration(*normal_pairs(genuine, impostors, seed))
    nearest, farthest = calibration.of(0.0), calibration.of(4.0)
    assume(nearest.low < nearest.high)
    assert nearest.limit == "at least" and nearest.ratio == nearest.high <= 1.5 * (impostors + 1)
    assert farthest.limit == "at most" and 1 / farthest.ratio == pytest.approx(1 / farthest.low)
    assert 1 / farthest.low <= 1.5 * (genuine + 1)
    ratios = [calibration.of(distance).ratio for distance in np.linspace(0, 4, 50)]
    assert (np.diff(ratios) <= 1e-9).all()


def test_uninformative_pairs_bound_nothing():
    found = Calibration(np.array([1.1, 1.2, 1.2, 1.1]), np.array([True, True, False, False])).of(0.0)
    assert (found.ratio, found.limit) == (pytest.approx(1), "")


@pytest.mark.parametrize(
    ("far", "interval", "said"),
    [
        (1e-2, (1 / 150, 1 / 60), "1 stranger in 100 passes (between 1 in 60 and 1 in 150)"),
        (0.4, None, "1 stranger in 2.5 passes"),
        (0.0, (0.0, 1 / 83), "no stranger passed (at most 1 in 83)"),
        (1 / 3412, (0.0, 1 / 1234), "1 stranger in 3,400 passes (at most 1 in 1,200)"),
    ],
)
def test_a_rate_is_reported_as_odds(far, interval, said):
    assert passing(far, interval) == said
    assert str(Risk(far, interval, "lfw: 600 pairs")) == f"at this threshold {said}, measured on lfw: 600 pairs"


@given(st.floats(1, 1e9))
def test_a_number_is_rounded_to_two_digits(number):
    assert float(counted(number).replace(",", "")) == pytest.approx(number, rel=0.051)


def test_the_risk_of_a_threshold_is_the_share_of_impostors_below_it():
    distances, issame = normal_pairs(300, 300)
    scores = PairScores(distances, issame, distances < 1.5, np.arange(1200))
    risk = measured_risk(scores, 1.7, "made")
    assert risk.far == (distances[~issame] < 1.7).mean()
    assert risk.interval[0] < risk.far < risk.interval[1]
    assert risk.interval[1] - risk.interval[0] == pytest.approx(4 * np.sqrt(risk.far * (1 - risk.far) / 300), rel=0.3)
