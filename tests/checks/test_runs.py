# SPDX-License-Identifier: Apache-2.0
"""The doctor after a run: the symptoms of what went wrong, each under its name."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from adaptface_jax.checks.finding import verdict
from adaptface_jax.checks.run import embeddings, history, outcome
from adaptface_jax.checks.run.outcome import Measured
from adaptface_jax.checks.terminal import Report
from adaptface_jax.config.schema import Config
from adaptface_jax.doctor import __main__ as doctor
from adaptface_jax.evaluation.results import BenchmarkResult, Results
from adaptface_jax.evaluation.statistics.intervals import Intervals
from adaptface_jax.evaluation.statistics.paired_test import Comparison
from adaptface_jax.evaluation.statistics.verdict import judged
from adaptface_jax.train import __main__ as train
from tests.checks.said import FAULT, NOTE, OK, WARNING, said
from tests.made_results import benchmark_result
from tests.running import call, write_config

SETTINGS = {
    "backbone.weights": "builtin",
    "adapter.balance_weight": 0.5,
    "head.kind": "none",
    "data.train": "synthetic:identities=8,images=6",
    "data.benchmarks": {"faces": "synthetic:identities=12,images=6,seed=2,pairs=300"},
    "data.threads": 0,
    "eval.batch_size": 32,
    "eval.flip": False,
    "train.batch_size": 16,
    "train.steps": 8,
    "train.log_every": 1,
}


def rows(tag: str, values) -> list[dict]:
    """Rows of `metrics.jsonl` with one metric; NaN is written as null."""
    return [{"step": 10 * i, tag: None if math.isnan(v) else float(v)} for i, v in enumerate(values)]


# A real run, and broken copies of it.


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_config(folder / "small.py", SETTINGS)
    assert call(train, f"--config={folder / 'small.py'}", f"--workdir={folder / 'run'}") == 0
    return folder / "run"


def examined(workdir: Path, tmp_path: Path, *words: str) -> tuple[int, dict[tuple[str, str], str]]:
    output = tmp_path / "found.json"
    status = call(doctor, f"--run={workdir}", f"--output={output}", *words)
    found = json.loads(output.read_text())["findings"]
    return status, {(f["section"], f["check"]): f["severity"] for f in found}


def test_a_valid_run_has_no_fault(run, tmp_path, capsys):
    before = sorted(path.name for path in run.rglob("*"))
    status, found = examined(run, tmp_path)
    assert status == 0 and "fault" not in found.values()
    assert {
        ("training", "loss"), ("training", "gradients"), ("training", "gates"), ("training", "speed"),
        ("training", "checkpoints"), ("benchmark faces", "verification"), ("benchmark faces", "over frozen"),
        ("benchmark faces", "over pixels"), ("model", "embeddings"), ("model", "rank"), ("model", "gates"),
    } <= set(found)  # fmt: skip
    assert sorted(path.name for path in run.rglob("*")) == before, "the doctor changes nothing"


def test_checkpoints_that_are_not_those_of_the_run(run, tmp_path, capsys):
    """A last step that is gone, and settings that no checkpoint has: what opens the run gets other values, or none."""
    workdir = tmp_path / "run"
    shutil.copytree(run, workdir)
    record = json.loads((workdir / "run.json").read_text())
    record["config"]["adapter"]["alpha"] += 1
    (workdir / "run.json").write_text(json.dumps(record))
    status, found = examined(workdir, tmp_path)
    assert status == 1 and found["training", "checkpoints"] == "fault"
    assert "config.adapter.alpha was" in capsys.readouterr().out
    shutil.copy(run / "run.json", workdir)
    steps = sorted((workdir / "checkpoints").glob("[0-9]*"), key=lambda folder: int(folder.name))
    shutil.rmtree(steps[-1])
    assert len(steps) > 1
    status, found = examined(workdir, tmp_path)
    assert status == 0 and found["training", "checkpoints"] == "warning"
    assert f"but the run ended at step {steps[-1].name}" in capsys.readouterr().out


def test_a_broken_run(run, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(run, workdir)
    shutil.rmtree(workdir / "checkpoints")
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        if line["step"] > 4 and "train/loss" in line:
            line["train/loss"] = None
        for k, usage in enumerate((0.995, 0.004, 0.001)):
            if f"train/gate/mean_{k}" in line:
                line[f"train/gate/mean_{k}"] = usage
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    results = json.loads((workdir / "results.json").read_text())
    results["benchmarks"]["faces"] |= {"accuracy": 0.51, "auc": 0.2}
    (workdir / "results.json").write_text(json.dumps(results))
    status, found = examined(workdir, tmp_path)
    assert status == 1
    assert {key for key, severity in found.items() if severity == "fault"} >= {
        ("training", "loss"), ("training", "gates"), ("training", "checkpoints"), ("benchmark faces", "verification"),
    }  # fmt: skip


def test_a_run_without_a_step_is_not_called_valid(run, tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    shutil.copy(run / "run.json", workdir)
    status, found = examined(workdir, tmp_path)
    assert status == 0 and found["training", "loss"] == "warning"


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "results.json"])
def test_corrupted_records_are_named(run, tmp_path, capsys, name):
    workdir = tmp_path / "run"
    workdir.mkdir()
    for record in ("run.json", "metrics.jsonl", "results.json"):
        shutil.copy(run / record, workdir)
    (workdir / name).write_text("{broken\n")
    if name == "run.json":
        assert call(doctor, f"--run={workdir}") == 2
        error = capsys.readouterr().err
        assert str(workdir) in error and error.count("\n") == 1
    else:
        status, found = examined(workdir, tmp_path)
        assert status == 1 and found["training", "records"] == "fault"
        assert f"{workdir / name}: " in capsys.readouterr().out


# The loss. C = 101, s = 64, m = 0.35: a model at chance has 27.0.

NOISE = np.random.default_rng(0).normal(0, 0.3, 40)
NOBODY = math.log(100) + 64 * 0.35


@pytest.mark.parametrize(
    ("values", "severity", "word"),
    [
        (np.linspace(30, 5, 40) + NOISE, OK, "29.09 at the start"),
        ([30, 29, math.nan, math.nan, math.nan, math.nan], FAULT, "step 20"),
        (np.full(40, 30.0), FAULT, "constant"),
        (np.linspace(30, 90, 40) + NOISE, FAULT, "diverging"),
        (np.r_[np.linspace(30, 10, 20), np.linspace(10, 60, 20)], FAULT, "diverging"),
        (30 + NOISE, WARNING, "than at the start"),
        (np.r_[np.linspace(35, NOBODY, 10), NOBODY + NOISE[:30] / 10], FAULT, "at chance"),
        ([30, 29], NOTE, "too few"),
        ([], WARNING, "no step"),
    ],
)
def test_loss(values, severity, word):
    finding = history.loss(rows("train/loss", values), Config(), 101)
    assert said(finding) == ("loss", severity) and word in finding.what


def test_learning_rate_zero():
    assert said(history.learning_rate(rows("train/learning_rate", [0, 0, 0]))) == ("learning rate", FAULT)
    assert said(history.learning_rate(rows("train/learning_rate", [0, 1e-4, 0]))) == ("learning rate", OK)


def test_a_part_that_never_had_a_gradient():
    first = {"step": 1, "train/grad_norm/adapter": 1.0, "train/grad_norm/head": 2.0}
    dead = {"step": 2, "train/grad_norm/adapter": 0.0, "train/grad_norm/head": 2.0}
    finding = history.gradients([first, dead, dead | {"step": 3}])
    assert said(finding) == ("gradients", FAULT) and finding.what.startswith("adapter: ")
    assert said(history.gradients([first, first | {"step": 2}])) == ("gradients", OK)


def test_skipped_steps():
    row = {"step": 2, "train/grad_norm/adapter": None, "train/skipped": 3.0}
    assert said(history.gradients([row, row | {"step": 3}])) == ("gradients", WARNING)


# The gates of K = 3 experts; log 3 = 1.0986.


@pytest.mark.parametrize(
    ("usage", "entropy", "severity", "word"),
    [
        ((0.4, 0.3, 0.3), 0.6, OK, "entropy 0.60"),
        ((0.60, 0.39, 0.01), 0.5, FAULT, "expert 2 died"),
        ((0.34, 0.33, 0.33), 1.0985, WARNING, "do not select"),
        ((0.34, 0.33, 0.33), 0.001, WARNING, "one expert only"),
    ],
)
def test_gates(usage, entropy, severity, word):
    means = {f"train/gate/mean_{k}": value for k, value in enumerate(usage)}
    finding = history.gates_in_training([{"step": i, **means, "train/gate/entropy": entropy} for i in range(8)])
    assert said(finding) == ("gates", severity) and word in finding.what


def test_a_run_without_gates_has_no_finding_on_them():
    assert history.gates_in_training(rows("train/loss", [3, 2, 1])) is None


def test_the_gates_of_embedded_images():
    even, one = np.full((30, 3), 1 / 3), np.tile([1.0, 0.0, 0.0], (30, 1))
    assert said(embeddings.gates_on_images(even)) == ("gates", WARNING)
    assert said(embeddings.gates_on_images(one)) == ("gates", FAULT)


@pytest.mark.parametrize(("waited", "severity"), [(0.02, OK), (0.6, WARNING)])
def test_waiting_for_data(waited, severity):
    found = [{"step": i, "train/data_wait": waited, "train/images_per_second": 100.0} for i in range(5)]
    assert said(history.waiting(found)) == ("speed", severity)


# The verification.


@pytest.mark.parametrize(
    ("accuracy", "auc", "severity", "word"),
    [
        (0.92, 0.97, OK, "92.00%"),
        (0.51, 0.10, FAULT, "inverted"),
        (0.52, 0.51, FAULT, "chance"),
        (0.50, 0.57, FAULT, "chance"),
    ],
)
def test_verification(accuracy, auc, severity, word):
    finding = outcome.verification(Measured(accuracy, auc, 600))
    assert said(finding) == ("verification", severity) and word in finding.what + finding.advice


def around(accuracy: float, few: bool = False) -> BenchmarkResult:
    """Metrics with an interval of two points on either side."""
    ends = (accuracy - 0.02, accuracy + 0.02)
    return benchmark_result(accuracy, intervals=Intervals(ends, ends, {}, people=40, few=few))


@pytest.mark.parametrize(
    ("accuracy", "p", "expected"),
    [
        (0.95, 1e-4, [("over pixels", OK), ("over frozen", OK)]),
        (0.95, 0.2, [("over pixels", OK), ("over frozen", NOTE)]),
        (0.89, 0.2, [("over pixels", OK), ("over frozen", NOTE)]),
        (0.80, 1e-4, [("over pixels", OK), ("over frozen", WARNING)]),
        (0.69, 1e-4, [("over pixels", NOTE), ("over frozen", WARNING)]),
        (0.60, 1e-4, [("over pixels", FAULT), ("over frozen", WARNING)]),
    ],
)
def test_against_raw_pixels_and_the_frozen_backbone(accuracy, p, expected):
    """The test decides, not the sign."""
    change = accuracy - 0.9
    compared = Comparison(600, change, (change, change), p, 0, 0, change, (change, change), p, people=40, few=False)
    results = Results({"lfw": around(accuracy)}, pixels={"lfw": around(0.7)}, frozen={"lfw": around(0.9)})
    found = outcome.gain(Measured(accuracy, 0.9, 600), "lfw", results, judged({"lfw": compared})["lfw"])
    assert [said(f) for f in found] == expected


def test_untested_differences_and_few_people_give_a_note():
    results = Results({"lfw": around(0.6, few=True)}, pixels={"lfw": around(0.7)}, frozen={"lfw": around(0.9)})
    found = outcome.gain(Measured(0.6, 0.9, 600), "lfw", results, None)
    assert [said(f) for f in found] == [("over pixels", NOTE), ("over frozen", NOTE)]
    assert all("not tested" in f.what for f in found)


def test_overfitting():
    falling = rows("train/loss", np.linspace(20, 1, 60))

    def evaluated(values):
        return falling + [{"step": 100 * (i + 1), "eval/lfw/accuracy": v} for i, v in enumerate(values)]

    assert said(outcome.overfitting(evaluated([0.7, 0.9, 0.95]), "lfw", 6000)) == ("course", OK)
    finding = outcome.overfitting(evaluated([0.7, 0.95, 0.9, 0.8]), "lfw", 6000)
    assert said(finding) == ("course", WARNING) and "step 200" in finding.what and "overfitting" in finding.what
    assert outcome.overfitting(evaluated([0.7, 0.6]), "lfw", 6000) is None


def test_metrics_of_a_run_in_progress_are_those_of_its_last_evaluation():
    found = [
        {"step": s, "eval/lfw/accuracy": a, "eval/lfw/auc": a, "eval/lfw/pose/accuracy": 0}
        for s, a in ((5, 0.6), (9, 0.8))
    ]
    assert outcome.measured(found, None) == {"lfw": Measured(0.8, 0.8)}


# The embeddings.


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda rng: rng.standard_normal((100, 64)), [("embeddings", OK), ("rank", OK)]),
        (lambda rng: 1 + 1e-3 * rng.standard_normal((100, 64)), [("embeddings", FAULT), ("rank", OK)]),
        (lambda rng: 1 + 0.25 * rng.standard_normal((100, 64)), [("embeddings", WARNING), ("rank", OK)]),
        (lambda rng: np.ones((100, 64)), [("embeddings", FAULT), ("rank", FAULT)]),
        (lambda rng: np.outer(rng.standard_normal(100), np.ones(64)), [("embeddings", OK), ("rank", FAULT)]),
        (lambda rng: rng.normal(size=(100, 3)) @ rng.normal(size=(3, 64)), [("embeddings", OK), ("rank", WARNING)]),
        (lambda rng: np.full((100, 64), np.nan), [("embeddings", FAULT)]),
        (lambda rng: np.zeros((100, 64)), [("embeddings", FAULT)]),
    ],
)  # fmt: skip
def test_collapse(make, expected):
    assert [said(f) for f in embeddings.spread(make(np.random.default_rng(0)))] == expected


# The report.


class Terminal:
    """A stream that claims to be a terminal with some encoding."""

    def __init__(self, encoding: str) -> None:
        self.encoding, self.text = encoding, ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        text.encode(self.encoding)
        self.text += text

    def flush(self) -> None:
        pass


@pytest.mark.parametrize(("encoding", "mark"), [("utf-8", "✗"), ("ascii", "X")])
def test_a_terminal_gets_colors_and_only_symbols_it_can_show(encoding, mark):
    from adaptface_jax.checks.finding import Section, fault, ok

    stream = Terminal(encoding)
    sections = [Section("data", "faces", (ok("a", "fine"), fault("b", "broken", "mend it"), ok("c", "fine")))]
    report = Report(stream)
    report.section(sections[0])
    report.verdict(sections)
    assert "\033[" in stream.text and mark in stream.text
    assert verdict(sections) == (FAULT, "1 fault: b")
