"""Combinations drawn by Optuna: seeded, resumable, integers for integers, none twice."""

from __future__ import annotations

import math

import pytest

from adaptface_jax.grid.record import FAILED, FINISHED, SubRun
from adaptface_jax.grid.search import draw
from adaptface_jax.grid.sweeps import Range, Values

pytest.importorskip("optuna")

RATE = Range("train.learning_rate", 1e-6, 1.0, whole=False)
RANK = Range("adapter.rank", 1, 8, whole=True)
KIND = Values("adapter.kind", ("lora", "dalora"))


def score(choice) -> float:
    """Best at a rate of 1e-3 and for dalora."""
    return -abs(math.log10(float(choice["train.learning_rate"])) + 3) + (choice["adapter.kind"] == "dalora")


def searched(count: int, seed: int = 0, runs: list[SubRun] | None = None) -> list[SubRun]:
    runs = list(runs or [])
    while len(runs) < count:
        choice = draw([RATE, RANK, KIND], runs, seed)
        runs.append(SubRun(str(len(runs)), dict(choice), FINISHED, score=score(choice)))
    return runs


def test_a_resumed_search_draws_what_an_uninterrupted_one_drew():
    whole = searched(16)
    assert searched(16, runs=searched(11)) == whole
    assert searched(4, seed=1) != whole[:4]


def test_values_are_in_their_ranges():
    for run in searched(16):
        assert 1e-6 <= float(run.choice["train.learning_rate"]) <= 1
        assert run.choice["adapter.rank"] in map(str, range(1, 9))
        assert run.choice["adapter.kind"] in KIND.texts


def test_later_draws_are_better_than_chance():
    runs = [run for seed in range(3) for run in searched(30, seed)[20:]]
    # Chance gives -1: 1.5 decades off on average, dalora every other time.
    assert sum(run.score for run in runs) / len(runs) > -0.25


def test_failed_and_waiting_sub_runs_are_passed_to_optuna():
    runs = searched(12)
    runs[3].state, runs[3].score = FAILED, None
    runs[11].state, runs[11].score = "running", None
    assert draw([RATE, RANK, KIND], runs, 0) is not None


def test_each_combination_is_drawn_once_and_then_none():
    sweeps, runs = [KIND, Values("adapter.rank", ("2", "4"))], []
    while (choice := draw(sweeps, runs, 0)) is not None:
        runs.append(SubRun(str(len(runs)), dict(choice), FINISHED, score=0.0))
    assert len({tuple(run.choice.items()) for run in runs}) == len(runs) == 4
