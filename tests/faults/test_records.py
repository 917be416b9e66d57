# SPDX-License-Identifier: Apache-2.0
"""Corrupted records: each is named in one line, or left out and reported; never a traceback, and nothing is lost."""

from __future__ import annotations

import json
import shutil

import pytest

from adaptface_jax.core.errors import InputError
from adaptface_jax.report import __main__ as report
from adaptface_jax.train import __main__ as train
from adaptface_jax.training.monitor import METRICS_FILE, Monitor, read_metrics
from tests.faults import data_records, records
from tests.faults.trial import Tally
from tests.finished_run import CONFIG
from tests.running import call


@pytest.fixture
def run(finished_run):
    return finished_run


def test_edits_of_a_runs_records(run, tmp_path):
    tally = Tally().run(records.of_a_run(run, tmp_path, count=60, seed=0, train_again=False))
    assert not tally.wrong, "\n".join(tally.wrong)
    assert tally.trials.total() >= 45


def test_edits_of_data_and_of_half_done_work(tmp_path):
    data = data_records.write_data(tmp_path / "whole")
    tally = Tally().run(data_records.trials(data, tmp_path, count=60, seed=0))
    assert not tally.wrong, "\n".join(tally.wrong)
    assert tally.trials.total() >= 50


def test_what_was_left_out_is_on_the_page(run, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(run, workdir)
    with (workdir / METRICS_FILE).open("a") as file:
        file.write("garbage\n")
    (workdir / "scores" / "faces.npz").write_bytes(b"x")
    assert call(report, str(workdir), f"--out={tmp_path / 'pages'}") == 0
    page = (tmp_path / "pages" / "run.html").read_text()
    assert "metrics.jsonl: line " in page and "is damaged" in page and "faces.npz: not an archive" in page


def test_the_log_repairs_a_truncated_last_line_and_refuses_other_damage(run, tmp_path):
    shutil.copy(run / METRICS_FILE, tmp_path)
    valid = read_metrics(tmp_path)
    for tail in ('{"step": 13, "tra', "\0" * 100):
        with (tmp_path / METRICS_FILE).open("a") as file:
            file.write(tail)
        with Monitor(tmp_path, resume_step=100) as monitor:
            monitor.scalars(100, {"x": 1})
        assert read_metrics(tmp_path) == [*valid, {"step": 100, "x": 1.0}]
        shutil.copy(run / METRICS_FILE, tmp_path)
    with (tmp_path / METRICS_FILE).open("a") as file:
        file.write("garbage\n")
    with pytest.raises(InputError, match=rf"metrics.jsonl: line {len(valid) + 1} is damaged .*; remove it"):
        Monitor(tmp_path, resume_step=100)


@pytest.mark.parametrize(
    ("name", "content", "status", "words"),
    [
        ("metrics.jsonl", "garbage\n", 2, "line 1 is damaged"),
        ("run.json", "{}", 2, "restore it with: cp "),
        ("baselines.json", "[]", 0, "not used"),
        ("results.json", "[]", 0, ""),
    ],
)
def test_training_resumes_or_says_what_to_restore(run, tmp_path, capsys, name, content, status, words):
    workdir = tmp_path / "run"
    shutil.copytree(run, workdir)
    (workdir / name).write_text(content)
    assert call(train, f"--config={run.parent / CONFIG}", f"--workdir={workdir}") == status
    said = capsys.readouterr()
    assert words in (said.err if status else said.out) and "Traceback" not in said.err
    if status:
        assert said.err.count("\n") == 1
    else:
        assert (workdir / "results.json").read_bytes()[:1] == b"{"


def test_edited_baselines_are_measured_again(run, tmp_path, capsys):
    """Else every gain in the report would be over the edited numbers."""
    workdir = tmp_path / "run"
    shutil.copytree(run, workdir)
    path = workdir / "baselines.json"
    before = json.loads(path.read_text())
    edited = json.loads(path.read_text())
    for entry in edited["results"]["frozen"].values():
        entry["accuracy"] = 0.123
    path.write_text(json.dumps(edited))
    assert call(train, f"--config={run.parent / CONFIG}", f"--workdir={workdir}") == 0
    assert "baselines.json: was changed since it was written (sha256 differs); not used" in capsys.readouterr().out
    assert json.loads(path.read_text()) == before
