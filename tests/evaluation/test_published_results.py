"""The published results, and which of a run's metrics may be compared with them."""

from __future__ import annotations

import pytest

from adaptface_jax.evaluation.published_results import CATEGORIES, FIVE, PUBLISHED, average, by_category, key, of_five
from adaptface_jax.evaluation.results import BenchmarkResult
from tests.made_results import benchmark_result


def entries(**accuracy: float) -> dict[str, BenchmarkResult]:
    return {name: benchmark_result(value) for name, value in accuracy.items()}


@pytest.mark.parametrize("row", [row for row in PUBLISHED if row.accuracies], ids=lambda row: row.name)
def test_an_average_is_the_mean_of_its_numbers(row):
    assert len(row.accuracies) == len(FIVE)
    assert row.average == pytest.approx(sum(row.accuracies) / len(FIVE), abs=0.005)


def test_every_row_is_in_percent_and_names_its_source():
    for row in PUBLISHED:
        assert 50 < row.average < 100 and row.source, row
    assert {category for _, category in FIVE.values()} == set(CATEGORIES)


@pytest.mark.parametrize(
    ("name", "known"),
    [("lfw", "lfw"), ("CFP-FP", "cfpfp"), ("agedb_30", "agedb30"), ("AgeDB", "agedb30"), ("faces", None)],
)
def test_benchmarks_are_known_by_any_spelling(name, known):
    assert key(name) == known


def test_an_average_is_over_all_five_or_none():
    whole = entries(lfw=0.9, cfp_fp=0.8, agedb_30=0.7, calfw=0.6, cplfw=0.5, mine=0.1)
    assert average(whole) == pytest.approx(70.0)
    del whole["calfw"]
    assert average(whole) is None
    assert of_five(whole) == pytest.approx({"lfw": 90, "cfpfp": 80, "agedb30": 70, "cplfw": 50})


def test_categories():
    found = by_category(entries(cplfw=0.5, cfp_fp=0.8, lfw=0.9, mine=0.1))
    assert {category: list(members) for category, members in found.items()} == {
        "general": ["lfw"],
        "pose": ["cplfw", "cfp_fp"],
    }
