"""Thresholds from unlabeled photographs: what they promise, and how doubles affect them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from adaptface_jax.core.errors import InputError
from adaptface_jax.evaluation.site_thresholds import SiteThresholds, fewest_photographs, site_thresholds
from benchmarks.simulated_sites import PILES, WIDTH, Place, one_site

STRANGERS = PILES[0]


def test_the_promised_rate_is_in_the_interval_where_the_benchmarks_threshold_misses_it():
    """Sites whose strangers are more similar than a benchmark's; benchmarks/site_thresholds.py has 200 for each
    pile."""
    rng = np.random.default_rng(3)
    pile = dataclasses.replace(STRANGERS, photographs=200)
    held = [one_site(pile, rng, fresh=20_000) for _ in range(40)]
    assert all(one.known for one in held)
    assert sum(one.inside for one in held) >= 36  # 38 are expected, with a standard error of 1.4
    assert sum(one.far_inside for one in held) >= 36
    assert sum(one.benchmark_inside for one in held) <= 12


@pytest.fixture(scope="module")
def alone() -> tuple[SiteThresholds, np.ndarray]:
    """200 strangers, and the thresholds found from them."""
    units = Place(2.0, 0.5, np.random.default_rng(1)).seen(np.arange(200))
    return site_thresholds(units), units


def test_strangers_alone_have_the_quantile_of_all_pairs_and_no_doubles(alone):
    found, units = alone
    distances = (2 - 2 * units @ units.T)[np.triu_indices(200, 1)]
    assert (distances < found.at_far["1e-2"].value).mean() == pytest.approx(0.01, abs=1e-4)
    assert found.doubles == 0 and found.doubles_at_most is None
    assert (found.photographs, found.pairs, found.people) == (200, 19_900, 200)


def test_plain_doubles_are_left_out_and_hardly_move_the_threshold(alone):
    """Half of the people a second time, in nearly the same image: 0.2% of the pairs, a fifth of those at FAR 1e-2."""
    one, units = alone
    rng = np.random.default_rng(2)
    again = units[:100] + 0.01 * rng.standard_normal((100, WIDTH))
    pile = np.concatenate([units, again / np.linalg.norm(again, axis=1, keepdims=True)])
    found = site_thresholds(pile)
    assert found.doubles == pytest.approx(100 / found.pairs) and found.people == 200
    assert found.at_far["1e-2"].value == pytest.approx(one.at_far["1e-2"].value, abs=0.01)
    wide, narrow = (np.log(np.divide(*one.at_far["1e-2"].far_interval[::-1])) for one in (found, one))
    assert wide > 0.8 * narrow  # the second images add no information


def test_hidden_doubles_make_it_stricter_and_the_interval_says_how_far():
    """A model that distinguishes people poorly, and five photographs of each: their pairs look like strangers'."""
    place = Place(2.0, 1.0, np.random.default_rng(4))
    units, genuine = place.seen(np.arange(300) // 5), place.doubles(2000)
    found = site_thresholds(units, genuine)
    threshold = found.at_far["1e-1"]
    true = (place.strangers(50_000) < threshold.value).mean()
    assert true < 0.1
    assert threshold.far_interval[0] <= true
    assert found.doubles <= 4 / 299 <= found.doubles_at_most <= 4 * 4 / 299


def test_a_rate_beyond_the_pile_reports_how_many_photographs_it_takes(alone):
    found, _ = alone
    assert set(found.at_far) | set(found.needed) == {"1e-1", "1e-2", "1e-3", "1e-4"}
    assert not set(found.at_far) & set(found.needed)
    assert found.needed["1e-4"] == fewest_photographs(1e-4) == 448
    small = site_thresholds(Place(2.0, 0.5, np.random.default_rng(5)).seen(np.arange(30)))
    assert 47 >= fewest_photographs(1e-2) > 30 and small.needed["1e-2"] >= 46


def test_uninformative_piles_are_refused():
    pile = Place(2.0, 0.05, np.random.default_rng(1)).seen(np.arange(60) // 10)
    with pytest.raises(InputError, match="12 photographs are too few; expected 20 or more"):
        site_thresholds(pile[:12])
    with pytest.raises(InputError, match=r"% of the pairs .* look like doubles; expected photographs of many people"):
        site_thresholds(pile)
