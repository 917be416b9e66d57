# SPDX-License-Identifier: Apache-2.0
"""What a model lost where it should not: by the paired test, and only if significant."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from adaptface_jax.config.schema import EvalConfig
from adaptface_jax.evaluation.guard import change_line, fallen
from adaptface_jax.evaluation.pair_scores import FROZEN, SCORES, write_each
from adaptface_jax.evaluation.statistics.paired_test import changes
from adaptface_jax.train.work import Verifier
from benchmarks.simulated_people import DESIGNS, HIGH, People


@pytest.fixture(scope="module")
def scores():
    """The frozen model's and a worse one's, on 60 people."""
    rng = np.random.default_rng(2)
    people = People(DESIGNS[3], rng)
    return {"old": people.seen(rng, HIGH, of_seed=0.02)}, {"old": people.seen(rng, 1.2, of_seed=0.02)}


def test_a_fall_is_an_interval_below_the_allowed_loss(scores):
    before, after = scores
    found = changes(before, after)
    lost = -100 * found["old"].accuracy_interval[1]
    assert lost > 1
    assert list(fallen(found, ("old",), 0.0)) == ["old"]
    assert list(fallen(found, ("old",), lost - 0.01)) == ["old"]
    assert not fallen(found, ("old",), lost + 0.01)
    assert not fallen(found, (), 0.0) and not fallen(found, ("other",), 0.0)
    assert not fallen(changes(after, before), ("old",), 0.0) and not fallen(changes(before, before), ("old",), 0.0)


def test_the_line_gives_size_and_certainty(scores):
    line = change_line("old", changes(*scores)["old"])
    assert line.startswith("old: accuracy -") and "95%" in line and line.endswith("60 people")


CASES = [("warn", 0, 1, ""), ("stop", 0, 1, "old fell"), ("stop", 50, 0, "")]


@pytest.mark.parametrize(("action", "points", "said", "ends"), CASES)
def test_a_training_is_warned_or_ends(scores, tmp_path, action, points, said, ends):
    before, after = scores
    write_each(tmp_path / SCORES / FROZEN, before)
    settings = EvalConfig(guard=("old",), guard_points=points, guard_action=action)
    judge = Verifier.__new__(Verifier)
    judge._plan, judge._workdir, judge.scores = SimpleNamespace(config=SimpleNamespace(eval=settings)), tmp_path, after
    lines: list[str] = []
    judge._guard(SimpleNamespace(write=lines.append))
    assert len(lines) == said and all(line.startswith("eval.guard: old: accuracy -") for line in lines)
    assert judge.fell() == ("old" if said else "")
    assert judge.objection().startswith(ends) and bool(judge.objection()) == bool(ends)
