"""Every page ends with next steps, and shows how the run was started."""

from __future__ import annotations

import dataclasses
import html
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adaptface_jax.__main__ import commands
from adaptface_jax.checks.run.records import FaceRun
from adaptface_jax.config.schema import Config, DataConfig
from adaptface_jax.core import environment
from adaptface_jax.evaluation.results import Results
from adaptface_jax.evaluation.statistics.paired_test import Comparison
from adaptface_jax.report.about import about_section
from adaptface_jax.report.charts import Line, curves, dots, running_mean, wide_enough
from adaptface_jax.report.next_steps import next_steps, of_several
from tests.made_results import benchmark_result

ROWS = [{"step": 200, "train/loss": 1.0}]


def run(change: float, p: float, path: str = "lfw.bin", finished: bool = True) -> FaceRun:
    """A run whose accuracy and AUC changed by this much over the frozen backbone's."""
    ends = (change - 0.01, change + 0.01)
    changes = {"lfw": Comparison(600, change, ends, p, 0, 0, change, ends, p, people=40, few=False)}
    typed = {"command": "adaptface train --workdir='my runs'", "commit": "8076c95"}
    results = Results({"lfw": benchmark_result(0.9)}, changes=changes, environment=typed)
    config = dataclasses.replace(Config(), data=DataConfig(benchmarks={"lfw": path}))
    record = {"backbone": {"source": "made"}, "data": {"source": "made", "images": 128, "classes": 4}}
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, steps=200))
    return FaceRun(Path("made"), config, record, ROWS, results if finished else None)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (run(0.1, 1e-4), "Evaluate it on other people"),
        (run(0.1, 0.3), "Evaluate it on more people"),
        (run(0.1, 1e-4, "synthetic:seed=1"), "these faces are synthetic"),
        (run(-0.1, 1e-4), "adaptface doctor --run=RUN"),
        (run(0.1, 1e-4, finished=False), "the same command again"),
    ],
)
def test_the_next_steps_follow_the_verdict(made, said):
    page = next_steps(made)
    assert said in page and "made" in page
    assert ("lr_finder" in page) == (said in ("Evaluate it on more people", "adaptface doctor --run=RUN"))


def test_every_command_of_the_next_steps_exists():
    pages = "".join([*(next_steps(run(change, 1e-4)) for change in (0.1, -0.1)), of_several(True), of_several(False)])
    typed = re.findall(r"<code>adaptface (\w+)", pages)
    assert typed and set(typed) <= set(commands())


def test_a_page_shows_the_command_as_typed_and_the_commit():
    page = about_section(run(0.1, 1e-4))
    assert "<code>adaptface train --workdir=&#x27;my runs&#x27;</code>" in page and "8076c95" in page
    assert page.count("my runs") == 1


def test_the_command_can_be_typed_again(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/any/train.py", "--workdir=my runs", "--benchmark", "a=b"])
    assert environment.provenance("train")["command"] == "adaptface train '--workdir=my runs' --benchmark a=b"


def test_a_package_outside_of_any_checkout_has_no_commit(monkeypatch, tmp_path):
    (tmp_path / "core").mkdir()
    (tmp_path / "__init__.py").write_text("")
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "core" / "environment.py"))
    assert environment.commit() == ""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert environment.commit() == "", "a file that the checkout around it does not know"


# Axes and smoothed lines.


def test_an_axis_is_never_narrower_than_the_interval_of_one_run():
    assert wide_enough(0.90, 0.91, 0.1) == pytest.approx((0.855, 0.955))
    assert wide_enough(0.98, 0.99, 0.1) == pytest.approx((0.9, 1.0))
    assert wide_enough(0.5, 0.9, 0.1) == (0.5, 0.9)
    made = [Line("made", np.arange(2), np.array([0.905, 0.906]), "main")]
    near, far = (curves("made", made, as_percent=True, least=least) for least in (0.0, 0.2))
    assert "90.6%" in near and "90.6%" not in far and ">85%" in far
    assert ">85%" in dots("made", {"row": [("a", 0.905, "c0")]}, least=0.2)


def test_a_smoothed_line_starts_and_ends_where_the_data_do():
    values = np.array([30.0, 20, 12, 9, 8, 7, 6, 6, 5, 5, 5, 4, 4, 3])
    smooth = running_mean(values)
    assert (smooth[0], smooth[-1]) == (30, 3) and smooth[1] == pytest.approx((30 + 20 + 12) / 3)
    drawn = curves("made", [Line("made", np.arange(14), values, "main")], smooth=True)
    raw, line = re.findall(r'class="line main( raw)?" points="([\d.]+,[\d.]+)', html.unescape(drawn))
    assert raw[0] and raw[1] == line[1]
