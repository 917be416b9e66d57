"""Runs of one recipe over several seeds as one: their means, and whether two recipes differ significantly."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from html import escape

import numpy as np

from adaptface_jax.checks.run.records import FaceRun
from adaptface_jax.core.text import listed
from adaptface_jax.evaluation.statistics.paired_test import Comparison, compare_seeds, same_pairs
from adaptface_jax.evaluation.statistics.verdict import Verdict
from adaptface_jax.report.paired_tests import Kept, Pair, comparison_tables, note
from adaptface_jax.report.recognition_page import benchmarks_of
from adaptface_jax.report.tables import NONE, Markup, area, percent, table


@dataclasses.dataclass(frozen=True)
class Recipe:
    """runs: seed -> the name of the run. doubled: runs omitted because their seed is a duplicate."""

    name: str
    runs: dict[int, str]
    doubled: tuple[str, ...]


def recipes_of(named: Mapping[str, FaceRun]) -> list[Recipe]:
    """Groups of runs whose settings differ only in the seed, if they have several seeds."""
    groups: dict[str, list[str]] = {}
    for name, run in named.items():
        groups.setdefault(repr(dataclasses.replace(run.config, seed=0)), []).append(name)
    found = []
    for members in groups.values():
        runs: dict[int, str] = {}
        doubled = []
        for name in members:
            if runs.setdefault(named[name].config.seed, name) != name:
                doubled.append(name)
        if len(runs) > 1:
            found.append(Recipe(_name(members), runs, tuple(doubled)))
    names = [recipe.name for recipe in found]
    return [
        recipe
        if names.count(recipe.name) == 1
        else dataclasses.replace(recipe, name=listed(list(recipe.runs.values())))
        for recipe in found
    ]


def _name(members: Sequence[str]) -> str:
    """The common prefix of the names of the runs, or all names if there is none."""
    first, last = min(members), max(members)
    shared = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    start = first[:shared].rstrip("-_. 0123456789")
    return start.removesuffix("seed").rstrip("-_. ") or start or listed(members)


@dataclasses.dataclass(frozen=True)
class Compared:
    """found: for every two recipes, by benchmark. seeds: how many each is based on. left_out: what could not be
    compared, and why."""

    found: dict[Pair, Comparison]
    seeds: dict[Pair, int]
    left_out: list[str]


def recipes_compared(recipes: Sequence[Recipe], scores: Mapping[str, Kept], benchmarks: Sequence[str]) -> Compared:
    """Every two recipes on every benchmark, paired over the seeds and the pairs that both have."""
    result = Compared({}, {}, [_doubled(recipe) for recipe in recipes if recipe.doubled])
    for benchmark, (one, two) in itertools.product(benchmarks, itertools.combinations(recipes, 2)):
        pair = f"{one.name} → {two.name}"
        seeds, missing = _paired_seeds(one, two, scores, benchmark)
        if len(seeds) < 2:
            why = "fewer than two seeds have stored scores of the same pairs in both."
            result.left_out.append(f"{pair} on {benchmark}: {why}")
            continue
        if missing:
            which = ", ".join(map(str, missing))
            result.left_out.append(f"{pair} on {benchmark}: seed {which} is in only one of them.")
        first, second = ([scores[recipe.runs[seed]][benchmark] for seed in seeds] for recipe in (one, two))
        key = benchmark, one.name, two.name
        result.found[key], result.seeds[key] = compare_seeds(first, second), len(seeds)
    return result


def mean_accuracies(recipe: Recipe, named: Mapping[str, FaceRun]) -> dict[str, float]:
    """Over the seeds, on the benchmarks that all its runs have."""
    entries = [benchmarks_of(named[run]) for run in recipe.runs.values()]
    shared = [name for name in entries[0] if all(name in of for of in entries)]
    return {name: float(np.mean([of[name].accuracy for of in entries])) for name in shared}


def recipes_section(
    recipes: Sequence[Recipe],
    named: Mapping[str, FaceRun],
    benchmarks: Sequence[str],
    verdicts: Mapping[Pair, Verdict],
    compared: Compared,
) -> str:
    """Means over seeds, and the difference of every two recipes on every benchmark; "" if there are none. HTML."""
    if not recipes:
        return ""
    parts = [_means(recipes, named, benchmarks)]
    if verdicts:
        counts = sorted(set(compared.seeds.values()))
        over = " to ".join(str(count) for count in counts[:: max(1, len(counts) - 1)])
        parts.append(comparison_tables(f"second minus first, means over {over} seeds", "recipes", verdicts))
        small_p = "the recipes differ over such people and over seeds; trained on other data they may differ"
        parts.append(note(verdicts.values(), small_p))
    if compared.left_out:
        parts.append(f'<p class="note">Omitted: {escape(" ".join(compared.left_out))}</p>')
    return f"<h2>Recipes over seeds</h2>{''.join(parts)}"


def _doubled(recipe: Recipe) -> str:
    return f"{', '.join(recipe.doubled)}: another run of {recipe.name} has the same seed."


def _paired_seeds(one: Recipe, two: Recipe, scores: Mapping[str, Kept], benchmark: str) -> tuple[list[int], list[int]]:
    """The seeds that both have with scores of the same pairs, and those that are omitted."""
    kept = [
        {seed: scores[run][benchmark] for seed, run in recipe.runs.items() if benchmark in scores[run]}
        for recipe in (one, two)
    ]
    both = [seed for seed in sorted(kept[0]) if seed in kept[1]]
    seeds = [seed for seed in both if all(same_pairs(kept[0][both[0]], of[seed]) for of in kept)]
    return seeds, sorted({*one.runs, *two.runs} - set(seeds))


def _means(recipes: Sequence[Recipe], named: Mapping[str, FaceRun], benchmarks: Sequence[str]) -> str:
    rows = []
    for recipe in recipes:
        cells = [recipe.name, ", ".join(map(str, sorted(recipe.runs)))]
        for benchmark in benchmarks:
            entries = [benchmarks_of(named[run]).get(benchmark) for run in recipe.runs.values()]
            known = [entry for entry in entries if entry is not None]
            accuracies, areas = [entry.accuracy for entry in known], [entry.auc for entry in known]
            cells += [_spread(accuracies, percent), _spread(areas, area)]
        rows.append(("", cells))
    titles = ["recipe", "seeds", *[f"{benchmark}: {what}" for benchmark in benchmarks for what in ("accuracy", "AUC")]]
    return table("Means over seeds", titles, rows, left=2)


def _spread(values: Sequence[float], written: Callable[[float], str]) -> str:
    """The mean, and below it the standard deviation over seeds."""
    if not values:
        return NONE
    mean = written(float(np.mean(values)))
    return Markup(f"{mean}<small>± {written(float(np.std(values, ddof=1)))}</small>") if len(values) > 1 else mean
