"""Runs that differ only in the seed are one recipe, and recipes are compared over seeds and people."""

from __future__ import annotations

import dataclasses
import html
import re
from pathlib import Path

import numpy as np
import pytest

from adaptface_jax.checks.run.records import FaceRun
from adaptface_jax.config.schema import Config
from adaptface_jax.core.text import signed, signed_area
from adaptface_jax.evaluation.pair_scores import PairScores
from adaptface_jax.evaluation.results import Results
from adaptface_jax.evaluation.statistics.paired_test import compare_seeds
from adaptface_jax.evaluation.statistics.verdict import judged
from adaptface_jax.report.comparison import headline
from adaptface_jax.report.paired_tests import compared, paired_tables
from adaptface_jax.report.recipes import recipes_compared, recipes_of, recipes_section
from benchmarks.simulated_people import DESIGNS, HIGH, MIDDLING, Design, People
from tests.made_results import benchmark_result


def words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def section(named: dict[str, FaceRun], scores: dict[str, dict[str, PairScores]]) -> str:
    recipes = recipes_of(named)
    found = recipes_compared(recipes, scores, ["faces"])
    return recipes_section(recipes, named, ["faces"], judged(found.found), found)


def paired(**scores: dict[str, PairScores]) -> str:
    return words(paired_tables(judged(compared(scores, ["faces"]))))


def run(seed: int, rank: int, accuracy: float = 0.8) -> FaceRun:
    config = Config(seed=seed)
    config = dataclasses.replace(config, adapter=dataclasses.replace(config.adapter, rank=rank))
    return FaceRun(Path("run"), config, {}, [], Results({"faces": benchmark_result(accuracy)}))


@pytest.fixture(scope="module")
def named() -> dict[str, FaceRun]:
    """Two recipes with three seeds each, and a single run."""
    runs = {f"small-{seed}": run(seed, 4, 0.7 + seed / 100) for seed in (1, 2, 3)}
    runs |= {f"large-{seed}": run(seed, 16) for seed in (1, 2, 3)}
    return runs | {"other": run(1, 8)}


@pytest.fixture(scope="module")
def scores(named) -> dict[str, dict[str, PairScores]]:
    rng = np.random.default_rng(0)
    people = People(DESIGNS[1], rng)
    levels = {name: HIGH if name.startswith("large") else MIDDLING for name in named}
    return {name: {"faces": people.seen(rng, level, of_seed=0.02)} for name, level in levels.items()}


def test_runs_that_differ_in_the_seed_alone_are_one_recipe(named):
    small, large = recipes_of(named)
    assert (small.name, small.runs) == ("small", {1: "small-1", 2: "small-2", 3: "small-3"})
    assert large.name == "large" and not large.doubled


def test_a_seed_that_comes_twice_counts_once():
    (recipe,) = recipes_of({"a": run(1, 4), "b": run(2, 4), "c": run(2, 4)})
    assert recipe.name == "a, b and c" and recipe.runs == {1: "a", 2: "b"} and recipe.doubled == ("c",)


def test_recipes_are_compared_over_their_seeds(named, scores):
    page = words(section(named, scores))
    found = compare_seeds(*([scores[f"{name}-{seed}"]["faces"] for seed in (1, 2, 3)] for name in ("small", "large")))
    assert "faces: second minus first, means over 3 seeds" in page
    assert "small → large 600 40 people raised " + signed(found.accuracy_difference) in page
    low, high = found.accuracy_interval
    assert f"{signed(low)} to {signed(high)}" in page and "raised" in page
    assert "small 1, 2, 3 72.00% ± 1.00%" in page  # the mean of 71, 72 and 73%, and their standard deviation
    assert "Omitted" not in page


def test_seeds_without_a_partner_are_left_out_and_reported(named, scores):
    fewer = {name: kept for name, kept in named.items() if name != "large-3"}
    page = words(section(fewer, scores))
    assert "means over 2 seeds" in page and "small → large on faces: seed 3 is in only one of them" in page
    alone = {name: kept if name.startswith("small") else {} for name, kept in scores.items()}
    page = words(section(named, alone))
    assert "fewer than two seeds have stored scores of the same pairs in both" in page


def test_two_recipes_whose_runs_have_equal_names_are_distinguished():
    runs = {f"exp{number}": run(number % 2, 4 * (number // 2 + 1)) for number in range(4)}
    assert [recipe.name for recipe in recipes_of(runs)] == ["exp0 and exp1", "exp2 and exp3"]
    named = {f"rank{rank}-seed{seed}": run(seed, rank) for rank in (4, 16) for seed in (1, 2)}
    assert [recipe.name for recipe in recipes_of(named)] == ["rank4", "rank16"]


def test_the_headline_is_of_recipes_where_every_run_is_a_seed_of_one(named, scores):
    recipes = recipes_of(named)
    of_recipes = judged(recipes_compared(recipes, scores, ["faces"]).found)
    of_runs = judged(compared(scores, ["faces"]))
    seeds = {name: kept for name, kept in named.items() if name != "other"}
    assert words(headline(seeds, of_runs, recipes, of_recipes)) == (
        "▲ large is better than small, and has the highest accuracy on faces, 80.00% mean over seeds."
    )
    assert "mean over seeds" not in words(headline(named, of_runs, recipes, of_recipes))


def test_many_runs_are_a_matrix_and_their_intervals_are_folded(named, scores):
    verdicts = judged(compared(scores, ["faces"]))
    first, *_ = paired_tables(verdicts).split("<details>")
    found = verdicts["faces", "small-1", "large-1"].found
    cells = dict(re.findall(r'<th scope="row">\d (\S+)</th>(.*?)</tr>', first))
    straight, turned = words(cells["large-1"]).split(), words(cells["small-1"]).split()
    assert straight[:2] == [signed(found.accuracy_difference), signed_area(found.auc_difference)]
    assert turned[4:6] == [signed(-found.accuracy_difference), signed_area(-found.auc_difference)]
    assert 'class="up"' in cells["large-1"] and 'class="down"' in cells["small-1"]
    assert "All 21 comparisons with their intervals" in words(paired_tables(verdicts))
    few = {pair: one for pair, one in verdicts.items() if {pair[1], pair[2]} <= {"small-1", "small-2", "large-1"}}
    assert "<details>" not in paired_tables(few)


def test_runs_of_one_seed_each_are_not_recipes(named, scores):
    alone = {name: named[name] for name in ("small-1", "large-1")}
    assert section(alone, scores) == ""


def test_a_difference_over_few_people_is_not_shown():
    rng = np.random.default_rng(1)
    people = People(Design("", 4, 20, 600), rng)
    before, after = ({"faces": people.seen(rng, level)} for level in (MIDDLING, HIGH))
    page = paired(a=before, b=after)
    assert "600 4 people too few people +" in page and "raised" not in page


def test_domains_are_below_their_runs():
    rng = np.random.default_rng(2)
    people = People(DESIGNS[1], rng)
    members = np.arange(600)[:, None] % 2 == [0, 1]
    first, second = (
        dataclasses.replace(people.seen(rng, HIGH), domain=members, domain_names=np.array(["dark", "turned"]))
        for _ in range(2)
    )
    page = paired(a={"faces": first}, b={"faces": second})
    assert "a → b: dark 300 40 people" in page and "a → b: turned 300 40 people" in page
