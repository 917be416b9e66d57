# SPDX-License-Identifier: Apache-2.0
"""A grid of small runs: what it starts, skips, ranks and refuses, and how it resumes however it ended."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from adaptface_jax.core.files import locked
from adaptface_jax.grid import __main__ as grid
from tests.children import one_device, ran, started, until
from tests.running import call, newest_checkpoint, write_config

SETTINGS = {
    "data.train": "synthetic:identities=4,images=12,seed=1",
    "data.benchmarks": {"faces": "synthetic:identities=4,images=6,seed=2,pairs=20"},
    "data.threads": 0,
    "eval.batch_size": 32,
    "eval.every_epochs": 0,
    "train.batch_size": 16,
    "train.epochs": 2,
    "train.learning_rate": 1e-3,
    "train.log_every": 2,
    "checkpoint.every_steps": 2,
}
RATES = "train.learning_rate=1e-4,1e-3"


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    return write_config(tmp_path_factory.mktemp("configs") / "small.py", SETTINGS)


def record(out: Path) -> dict:
    return json.loads((out / "grid.json").read_text())


def by_name(out: Path) -> dict[str, dict]:
    return {run["name"]: run for run in record(out)["runs"]}


@pytest.fixture(scope="module")
def failing(config, tmp_path_factory) -> tuple[Path, str, str, int]:
    """A grid whose second sub-run has larger batches than images: its folder, output and status."""
    out = tmp_path_factory.mktemp("grids") / "grid"
    command = (sys.executable, "-m", "adaptface_jax.grid", f"--config={config}", f"--out={out}")
    end = ran(*command, "--sweep", "train.batch_size=16,4096", env=one_device())
    return out, end.out, end.error, end.status


def test_a_failing_sub_run_is_reported_and_the_others_continue(failing):
    out, said, error, status = failing
    assert status == 1
    assert error == "error: 1 of 2 sub-runs failed: batch_size=4096\n"
    assert "batch_size=4096 failed with status 2" in said and "train.batch_size: 4096 is more than the 48" in said
    runs = by_name(out)
    assert runs["batch_size=16"]["state"] == "finished" and runs["batch_size=4096"]["state"] == "failed"
    assert "batch_size=4096 failed: error: train.batch_size" in (out / "grid.md").read_text()


def test_a_sub_run_is_an_ordinary_run(failing):
    out = failing[0]
    workdir = out / "batch_size=16"
    assert (workdir / "results.html").exists() and (workdir / "run.json").exists()
    results = json.loads((workdir / "results.json").read_text())
    run = by_name(out)["batch_size=16"]
    assert run["score"] == results["benchmarks"]["faces"]["accuracy"]  # of the only evaluation
    assert run["steps"] == results["run"]["steps"] == 6 and run["rank"] == 1 and run["seconds"] > 0
    assert "training" in (workdir / "grid.log").read_text()


def test_the_table_and_the_command_for_a_report_are_printed(failing):
    out, said, _, _ = failing
    assert "| mean accuracy | last loss | steps |" in said
    assert f"adaptface report {out}/batch_size=16 --out={out}" in said
    assert next(line for line in said.splitlines() if line.startswith("| 1 ")) in (out / "grid.md").read_text()


def test_tensorboards_table_of_runs_has_a_row_for_each_sub_run(failing):
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

    events = EventMultiplexer().AddRunsFromDirectory(str(failing[0])).Reload()
    rows = events.PluginRunToTagToContent("hparams")
    assert {name for name, tags in rows.items() if "_hparams_/session_start_info" in tags} == {"batch_size=16"}


def test_the_same_command_skips_what_has_finished(config, failing, capfd):
    out = failing[0]
    before = (out / "batch_size=16" / "results.json").stat().st_mtime_ns
    words = (f"--config={config}", f"--out={out}", "--sweep=train.batch_size=16,4096")
    assert call(grid, *words) == 1
    said = capfd.readouterr().out
    assert "batch_size=16: already finished, skipped" in said and "[2/2] batch_size=4096" in said
    assert (out / "batch_size=16" / "results.json").stat().st_mtime_ns == before
    assert call(grid, *words, "--dry_run") == 0
    said = capfd.readouterr().out
    assert "batch_size=16 (finished)" in said
    assert re.search(r"1 sub-run left, about .*\d (s|min) at .*\d (s|min) each, the mean of 1", said)


def test_another_grid_in_the_same_folder_is_refused(config, failing, capsys):
    out = failing[0]
    before = (out / "grid.json").read_text()
    for words, expected in (
        (("--sweep=train.batch_size=16,32",), "sweeps.train.batch_size"),
        (("--sweep=train.batch_size=16,4096", "--config.adapter.rank=3"), "settings.adapter.rank was 2, now 3"),
    ):
        assert call(grid, f"--config={config}", f"--out={out}", *words) == 2
        error = capsys.readouterr().err
        assert "holds another grid" in error and expected in error and error.count("\n") == 1
    assert (out / "grid.json").read_text() == before


def test_two_grids_at_once_are_refused(config, tmp_path, capsys):
    with locked(tmp_path, "busy"):
        assert call(grid, f"--config={config}", f"--out={tmp_path}", f"--sweep={RATES}") == 2
    assert "another grid is running in" in capsys.readouterr().err


def test_a_dry_run_lists_the_commands_and_writes_nothing(config, tmp_path, capsys):
    out = tmp_path / "grid"
    words = (f"--config={config}", f"--out={out}", "--sweep", RATES, "--sweep", "adapter.targets=(q,v),qkv")
    assert call(grid, *words, "--config.seed=3", "--benchmark=a=/x.bin", "--dry_run") == 0
    said = capsys.readouterr().out
    assert said.count("python -m adaptface_jax.train") == 4
    assert (
        f"'--workdir={out}/learning_rate=0.0001,targets=q-v'" in said
        or f"{out}/learning_rate=0.0001,targets=q-v" in said
    )
    assert (
        "--config.seed=3 --config.train.learning_rate=1e-4 '--config.adapter.targets=(q,v)' --benchmark=a=/x.bin"
        in said
    )
    assert "4 sub-runs left, time unknown until the first has finished" in said
    assert not out.exists()


def test_settings_of_classification_start_classify(tmp_path, capsys):
    words = ("--config=tiny_imagenet_resnet", f"--out={tmp_path / 'grid'}", "--sweep=model.blocks=(2,2,2),(3,3,3)")
    assert call(grid, *words, "--dry_run") == 0
    said = capsys.readouterr().out
    assert said.count("adaptface_jax.classify") == 2 and "blocks=2-2-2" in said and "blocks=3-3-3" in said
    assert call(grid, *words, "--benchmark=a=/x") == 2
    assert "--benchmark: belongs to face training" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "--sweep: none is given"),
        (["--sweep=adapter.rnak=1,2"], "adapter.rank"),
        (["--sweep=train.grad_accum=1,3"], "grad_accum=3: train.grad_accum: 3 does not divide"),
        (["--sweep=backbone.image_size=28,30"], "image_size=30: backbone.image_size"),
        ([f"--sweep={RATES}", "--trials=0"], "--trials"),
        (["--sweep=adapter.rank=2..8"], "--trials"),
        ([f"--sweep={RATES}", "--devices=2"], "--devices: 2 is out of range"),
        ([f"--sweep={RATES}", "--device=1"], "--devices"),
        ([f"--sweep={RATES}", "--config.train.learnin_rate=1"], "train.learning_rate"),
    ],
)
def test_bad_input_gives_one_line_and_status_2(config, tmp_path, capsys, words, expected):
    out = tmp_path / "grid"
    assert call(grid, f"--config={config}", f"--out={out}", *words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and expected in error and error.count("\n") == 1
    assert not out.exists()


def test_a_runs_folder_is_refused(config, tmp_path, capsys):
    (tmp_path / "run.json").write_text("{}")
    assert call(grid, f"--config={config}", f"--out={tmp_path}", f"--sweep={RATES}") == 2
    assert "holds a run" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("optuna") is not None, reason="Optuna is installed")
def test_trials_without_optuna_name_what_to_install(config, tmp_path, capsys):
    words = (f"--config={config}", f"--out={tmp_path / 'grid'}", "--sweep=adapter.rank=2..8", "--trials=3")
    assert call(grid, *words) == 2
    assert "pip install 'adaptface_jax[optuna]'" in capsys.readouterr().err


def ranking(out: Path) -> list[tuple]:
    """The table without the times."""
    keys = ("rank", "name", "choice", "state", "score", "loss", "steps")
    return [tuple(str(run.get(key)) for key in keys) for run in record(out)["runs"]]


@pytest.fixture(scope="module")
def command(config) -> tuple[str, ...]:
    words = (f"--config={config}", "--config.train.epochs=8", "--sweep=seed=0,1")
    return (sys.executable, "-m", "adaptface_jax.grid", *words)


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory) -> Path:
    """An uninterrupted grid."""
    out = tmp_path_factory.mktemp("grids") / "whole"
    assert ran(*command, f"--out={out}", env=one_device()).status == 0
    return out


@pytest.mark.slow
def test_a_grid_interrupted_twice_ends_with_the_same_table(command, whole, tmp_path):
    out = tmp_path / "grid"
    for number in (signal.SIGTERM, signal.SIGKILL):
        # Of a step that is not known: a fast machine takes several before it stops.
        before = newest_checkpoint(out / "seed=1")
        with started(*command, f"--out={out}", env=one_device()) as child:
            until(lambda before=before: newest_checkpoint(out / "seed=1") > before, child)
            os.kill(child.process.pid, number)
            end = child.end()
            if number == signal.SIGTERM:
                assert end.status == 75
                line = f"stopped by {number.name}; 1 of 2 sub-runs have finished, run the same command to resume\n"
                assert end.error == line
                assert by_name(out)["seed=1"]["state"] == "stopped"
            else:
                assert end.status == -number
                # Sub-runs left by a killed grid save and end; the next one waits for them.
                again = ran(*command, f"--out={out}", env=one_device())
    assert again.status == 0, again.error
    assert "seed=0: already finished, skipped" in again.out
    assert "resuming from step" in (out / "seed=1" / "grid.log").read_text()
    assert ranking(out) == ranking(whole)


@pytest.mark.slow
def test_a_grid_of_drawn_combinations_can_be_extended_later(config, tmp_path):
    pytest.importorskip("optuna")
    out = tmp_path / "grid"
    words = (sys.executable, "-m", "adaptface_jax.grid", f"--config={config}", f"--out={out}")
    words += ("--sweep=seed=0..1000", "--config.train.epochs=1")
    assert ran(*words, "--trials=1", env=one_device()).status == 0
    (first,) = by_name(out)
    assert ran(*words, "--trials=2", env=one_device()).status == 0
    runs = by_name(out)
    assert len(runs) == 2 and first in runs and {run["rank"] for run in runs.values()} == {1, 2}
    assert len({run["choice"]["seed"] for run in runs.values() if 0 <= int(run["choice"]["seed"]) <= 1000}) == 2


def test_yardstick_adds_the_plain_adapter_of_equal_size(config, tmp_path, capsys):
    words = (f"--config={config}", f"--out={tmp_path / 'grid'}", "--dry_run", "--yardstick", "--sweep", "seed=0,1")
    kinds = ("--sweep", "adapter.kind=dalora", "--sweep", "adapter.router=frozen,block:2")
    assert call(grid, *words, *kinds, "--config.adapter.rank=4", "--config.adapter.alpha=6") == 0
    said = capsys.readouterr().out
    plain = "--config.seed={} --config.adapter.kind=lora --config.adapter.rank=12 --config.adapter.alpha=18"
    assert [said.count(plain.format(seed)) for seed in (0, 1)] == [1, 1]
    assert said.count("python -m adaptface_jax.train") == 6

    assert call(grid, *words, "--config.adapter.kind=lora") == 2
    assert "no combination is a DA-LoRA" in capsys.readouterr().err
