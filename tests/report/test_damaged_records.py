"""Damaged records of a run: each is named in one line, or left out and told; never a traceback."""

from __future__ import annotations

import shutil

import pytest

from adaptface_jax import train
from adaptface_jax.core.errors import InputError
from adaptface_jax.report import __main__ as report
from adaptface_jax.training.monitor import METRICS_FILE, Monitor, read_metrics
from tests.report.damaged import edits
from tests.running import call


def test_a_report_shows_a_run_as_far_as_its_records_can_be_read(run, tmp_path, capsys):
    workdir, told, wrong = tmp_path / "run", {0: 0, 2: 0}, []
    shutil.copytree(run, workdir)
    for name, what, content in edits(run):
        (workdir / name).write_bytes(content)
        status = error = ""
        try:
            status = call(report, str(workdir), f"--out={tmp_path / 'pages'}")
            error = capsys.readouterr().err
        except Exception as failure:
            error = repr(failure)
        if not (status == 0 and error == "") and not (status == 2 and error.count("\n") == 1 and name == "run.json"):
            wrong.append((name, what, status, error[:300]))
        else:
            told[status] += 1
        shutil.copy(run / name, workdir / name)
    assert not wrong, "\n".join(map(str, wrong))
    assert sum(told.values()) > 200 and min(told.values()) > 20


def test_what_was_left_out_stands_on_the_page(run, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(run, workdir)
    with (workdir / METRICS_FILE).open("a") as file:
        file.write("garbage\n")
    (workdir / "scores" / "faces.npz").write_bytes(b"x")
    assert call(report, str(workdir), f"--out={tmp_path / 'pages'}") == 0
    page = (tmp_path / "pages" / "run.html").read_text()
    assert "metrics.jsonl: line " in page and "is damaged" in page and "faces.npz: is no archive" in page


def test_the_log_heals_a_torn_last_line_and_refuses_the_rest(run, tmp_path):
    shutil.copy(run / METRICS_FILE, tmp_path)
    sound = read_metrics(tmp_path)
    for tail in ('{"step": 13, "tra', "\0" * 100):
        with (tmp_path / METRICS_FILE).open("a") as file:
            file.write(tail)
        with Monitor(tmp_path, resume_step=100) as monitor:
            monitor.scalars(100, {"x": 1})
        assert read_metrics(tmp_path) == [*sound, {"step": 100, "x": 1.0}]
        shutil.copy(run / METRICS_FILE, tmp_path)
    with (tmp_path / METRICS_FILE).open("a") as file:
        file.write("garbage\n")
    with pytest.raises(InputError, match=rf"metrics.jsonl: line {len(sound) + 1} is damaged .*; remove it"):
        Monitor(tmp_path, resume_step=100)


@pytest.mark.parametrize(
    ("name", "content", "status", "words"),
    [
        ("metrics.jsonl", "garbage\n", 2, "line 1 is damaged"),
        ("run.json", "{}", 2, "restore it with: cp "),
        ("baselines.json", "[]", 0, "measured again"),
        ("results.json", "[]", 0, ""),
    ],
)
def test_training_goes_on_or_says_what_to_restore(run, tmp_path, capsys, name, content, status, words):
    workdir = tmp_path / "run"
    shutil.copytree(run, workdir)
    (workdir / name).write_text(content)
    assert call(train, f"--config={run.parent / 'small.py'}", f"--workdir={workdir}") == status
    said = capsys.readouterr()
    assert words in (said.err if status else said.out) and "Traceback" not in said.err
    if status:
        assert said.err.count("\n") == 1
    else:
        assert (workdir / "results.json").read_bytes()[:1] == b"{"
