"""What intervals and paired tests promise: how often a 95% interval covers, how often equal models are called
different.

    python benchmarks/intervals.py --out=benchmarks/results/intervals.json

Rows already in --out are not repeated, so that the hours can be spread.
Draws people, images and pairs over and over (`simulated_people.py`): four designs, three levels, with and without noise
of people. The target of coverage is the metric's mean over all draws of a row: its expectation over people and images
of that design. Equal models have the same expectation over people, and noise of their own for people and images; equal
recipes have noise of seeds as well. With R replications a share of 5% has a standard error of sqrt(0.05 * 0.95 / R).
"""

from __future__ import annotations

import argparse
import concurrent.futures
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
from showing import show
from simulated_people import BEYOND, DESIGNS, HIGH, HIGHEST, MIDDLING, Design, People

from adaptface_jax.core.json_io import read_json
from adaptface_jax.evaluation.statistics.paired_test import compare, compare_seeds
from adaptface_jax.evaluation.verification import Verification, compute_metrics, judge_pairs

LEVELS = {"middling": MIDDLING, "high": HIGH, "highest": HIGHEST}
OF_PEOPLE = (0.0, 0.3)
OF_SEED = 0.05
SEEDS = (3, 5)


def one_row(design: Design, level: str, of_people: float, replications: int) -> dict[str, Any]:
    """Coverage of every metric, and false alarms of the paired test of two runs."""
    rng = np.random.default_rng([1, design.people, design.pairs, int(100 * LEVELS[level]), int(10 * of_people)])
    found: dict[str, list[tuple[float, float, float]]] = {}
    alarms = np.zeros(2)
    for _ in range(replications):
        people = People(design, rng)
        first, second = (people.seen(rng, LEVELS[level], of_people) for _ in range(2))
        metrics = compute_metrics(judge_pairs(first.distance, first.issame, index=first.index, person=first.person))
        for name, row in with_intervals(metrics).items():
            found.setdefault(name, []).append(row)
        compared = compare(first, second)
        alarms += [compared.accuracy_p < 0.05, compared.auc_p < 0.05]
    figures = {}
    for name, rows in found.items():
        value, low, high = np.array(rows).T
        true = value.mean()
        covered = np.mean((low <= true) & (true <= high))
        figures[name] = {"mean": true, "coverage": covered, "width": np.mean(high - low)}
    return {
        "design": design.name, "level": level, "noise_of_people": of_people, "replications": replications,
        "figures": figures, "false_alarms": {"accuracy": alarms[0] / replications, "auc": alarms[1] / replications},
    }  # fmt: skip


def with_intervals(metrics: Verification) -> dict[str, tuple[float, float, float]]:
    """Metric -> its value and the ends of its interval, for those that have one."""
    around = metrics.intervals
    assert around is not None
    assert around.eer is not None
    rows = {
        "accuracy": (metrics.accuracy, *around.accuracy),
        "auc": (metrics.auc, *around.auc),
        "eer": (metrics.eer, *around.eer),
    }
    tars = {f"tar_at_far_{far}": (metrics.tar_at_far[far], ends) for far, ends in around.tar_at_far.items()}
    return rows | {name: (value, *ends) for name, (value, ends) in tars.items() if value is not None and ends}


def seed_row(design: Design, level: str, seeds: int, replications: int) -> dict[str, Any]:
    """False alarms of the paired test of two recipes."""
    rng = np.random.default_rng([2, design.people, design.pairs, int(100 * LEVELS[level]), seeds])
    alarms = np.zeros(2)
    for _ in range(replications):
        people = People(design, rng)
        recipes = [[people.seen(rng, LEVELS[level], 0.3, OF_SEED) for _ in range(seeds)] for _ in range(2)]
        compared = compare_seeds(*recipes)
        alarms += [compared.accuracy_p < 0.05, compared.auc_p < 0.05]
    return {
        "design": design.name, "level": level, "seeds": seeds, "replications": replications,
        "false_alarms": {"accuracy": alarms[0] / replications, "auc": alarms[1] / replications},
    }  # fmt: skip


def table(rows: list[dict[str, Any]], of_seeds: list[dict[str, Any]]) -> str:
    """Coverage and false alarms in percent."""
    width = 82
    lines = ["", f"{'coverage, %':{width}} acc   AUC   EER   TAR 1e-1  1e-2   alarms: acc  AUC"]
    for row in rows:
        name = f"{row['design']}, {row['level']}, noise of people {row['noise_of_people']:g}"
        figures, alarms = row["figures"], row["false_alarms"]
        names = ("accuracy", "auc", "eer", "tar_at_far_1e-1", "tar_at_far_1e-2")
        shares = [f"{100 * figures[figure]['coverage']:5.1f}" if figure in figures else "    -" for figure in names]
        lines.append(
            f"{name:{width}}{' '.join(shares)}       {100 * alarms['accuracy']:5.1f} {100 * alarms['auc']:5.1f}"
        )
    for row in of_seeds:
        alarms = row["false_alarms"]
        name = f"{row['design']}, {row['level']}, {row['seeds']} seeds"
        lines.append(f"{name:{width}}{'':35}{100 * alarms['accuracy']:5.1f} {100 * alarms['auc']:5.1f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replications", type=int, default=1000)
    parser.add_argument("--seed_replications", type=int, default=500, help="of recipes over seeds [500]")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    kept = read_json(args.out) if args.out and args.out.exists() else {}
    tables = {
        "coverage_and_alarms": [
            (one_row, (*case, args.replications)) for case in itertools.product((*DESIGNS, *BEYOND), LEVELS, OF_PEOPLE)
        ],
        "recipes_over_seeds": [
            (seed_row, (*case, args.seed_replications)) for case in itertools.product(DESIGNS, LEVELS, SEEDS)
        ],
    }
    found: dict[str, Any] = {name: kept.get(name, []) for name in tables}
    with concurrent.futures.ProcessPoolExecutor(args.workers) as pool:
        waiting = {
            pool.submit(make, *case): name for name, cases in tables.items() for make, case in cases[len(found[name]) :]
        }
        for future, name in waiting.items():  # in order, so that what is kept is a prefix
            found[name].append(future.result())
            show(found | {"standard_error_of_5_percent": math.sqrt(0.05 * 0.95 / args.replications)}, args.out)
    print(table(*found.values()))


if __name__ == "__main__":
    main()
