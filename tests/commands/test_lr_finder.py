# SPDX-License-Identifier: Apache-2.0
"""The search for a learning rate on a small training: what it prints, writes, refuses and leaves unchanged."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path

import pytest

from adaptface_jax.core.files import locked
from adaptface_jax.lr_finder import __main__ as lr_finder
from adaptface_jax.training.monitor import read_metrics
from tests.running import call, write_config

SETTINGS = {
    "data.train": "synthetic:identities=4,images=12,seed=1",
    "data.threads": 0,
    "train.batch_size": 16,
    "train.warmup_steps": 50,
    "train.learning_rate": 1e-3,
}
WORDS = ("--from=1e-5", "--to=10", "--steps=60", "--weight_decay=0,0.5")


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    return write_config(tmp_path_factory.mktemp("configs") / "small.py", SETTINGS)


@pytest.fixture(scope="module")
def search(config, tmp_path_factory) -> tuple[Path, str]:
    """What the command wrote, next to an existing file, and what it printed."""
    out = tmp_path_factory.mktemp("found")
    (out / "notes.txt").write_text("mine")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert call(lr_finder, f"--config={config}", f"--out={out}", *WORDS) == 0
    return out, printed.getvalue()


@pytest.fixture(scope="module")
def found(search) -> Path:
    return search[0]


def test_the_sweeps_are_stored_as_json(found):
    sweeps = json.loads((found / "lr_finder.json").read_text())["sweeps"]
    assert [sweep["weight_decay"] for sweep in sweeps] == [0, 0.5]
    for sweep in sweeps:
        assert sweep["rates"][0] == pytest.approx(1e-5) and sweep["ended"]
        assert len(sweep["rates"]) == len(sweep["losses"]) == len(sweep["smoothed"]) > 30
        assert 1e-4 < sweep["suggestion"] < 1
        assert sweep["suggestion"] in sweep["rates"]
    assert sweeps[0]["losses"][0] == sweeps[1]["losses"][0]  # the same values, the same batch


def test_a_plot_and_events(found):
    assert (found / "lr_finder.png").read_bytes().startswith(b"\x89PNG")
    assert list(found.glob("events.out.tfevents.*"))
    sweep = json.loads((found / "lr_finder.json").read_text())["sweeps"][1]
    rows = read_metrics(found / "weight_decay=0.5")
    assert [row["lr_finder/loss"] for row in rows] == sweep["losses"]
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))


def test_the_table_is_ranked_and_names_the_setting(search):
    found, out = search
    sweeps = json.loads((found / "lr_finder.json").read_text())["sweeps"]
    best = min(sweeps, key=lambda sweep: sweep["lowest"])
    assert f"--config.train.learning_rate={best['suggestion']:.2e}" in out
    alike = all(best["lowest"] > 0.99 * sweep["lowest"] for sweep in sweeps)
    assert ("differ by less than 1%" in out) == alike
    assert (f"--config.train.weight_decay={best['weight_decay']:g}" in out) != alike
    table = [line for line in out.splitlines() if line.startswith("| ")]
    assert table[2].startswith(f"| {best['weight_decay']:g} ") and len(table) == 4


def test_rates_that_do_nothing_give_no_suggestion_and_replace_an_earlier_search(config, found, tmp_path, capsys):
    out = Path(shutil.copytree(found, tmp_path / "found"))
    words = (f"--config={config}", f"--out={out}", "--from=1e-12", "--to=1e-11", "--steps=30", "--weight_decay=0")
    assert call(lr_finder, *words) == 0
    said = capsys.readouterr().out
    assert "no suggestion: " in said and "--config.train.learning_rate" not in said
    (sweep,) = json.loads((out / "lr_finder.json").read_text())["sweeps"]
    assert "suggestion" not in sweep
    assert (out / "notes.txt").read_text() == "mine"
    assert len(read_metrics(out / "weight_decay=0")) == len(sweep["losses"]) == 30  # not twice


def test_a_runs_folder_is_refused(config, tmp_path, capsys):
    (tmp_path / "run.json").write_text("{}")
    assert call(lr_finder, f"--config={config}", f"--out={tmp_path}") == 2
    error = capsys.readouterr().err
    assert "holds a run" in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_folder_in_use_is_refused(config, tmp_path, capsys):
    with locked(tmp_path, "busy"):
        assert call(lr_finder, f"--config={config}", f"--out={tmp_path}", "--steps=30") == 2
    assert "another process" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--from=0"], "--from"),
        (["--from=nan"], "--from"),
        (["--from=1e-2", "--to=1e-3"], "--from, --to"),
        (["--to=inf"], "--to"),
        (["--steps=5"], "expected 30 to"),
        (["--steps=many"], "--steps"),
        (["--weight_decay=0,-1"], "--weight_decay"),
        (["--weight_decay=0,0.0"], "--weight_decay"),
        (["--weight_decay=a"], "--weight_decay"),
        (["--config.train.learnin_rate=1"], "train.learning_rate"),
        (["--config.data.train="], "data.train"),
        (["--stepps=3"], "--steps"),
    ],
)
def test_bad_input_gives_one_line_and_status_2(config, tmp_path, capsys, words, expected):
    out = tmp_path / "out"
    assert call(lr_finder, f"--config={config}", f"--out={out}", *words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and expected in error and error.count("\n") == 1
    assert not out.exists()
