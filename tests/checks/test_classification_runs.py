"""Findings from the records of a classification run: the checks common to all runs, and those of labels."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from adaptface_jax.checks.run import classification
from adaptface_jax.checks.run.record_checks import check_records
from adaptface_jax.checks.run.records import ClassificationRun, read_run
from adaptface_jax.doctor import __main__ as doctor
from adaptface_jax.evaluation.classification.results import BaselineScore
from tests.checks.said import FAULT, NOTE, OK, WARNING, said
from tests.made_classifications import of_attributes, of_classes, results_of, rows_of, write_classification_run
from tests.running import call

RESULTS = results_of(of_attributes(0.9), of_attributes(0.88, seed=1))
ROWS = rows_of(RESULTS)


def severities(run: ClassificationRun) -> dict[tuple[str, str], str]:
    found = {(s.title, f.check): f.severity for s in check_records(run) for f in s.findings}
    # The synthetic runs have no checkpoint.
    return {key: severity for key, severity in found.items() if key[1] != "checkpoints"}


def evaluated(loss, macro_f1) -> list[dict]:
    """A row every 10 steps with an evaluation, and a steadily falling training loss."""
    rows = [{"step": step, "train/loss": 5 - step / 100} for step in range(1, 10 * len(loss) + 1)]
    tags = zip(loss, macro_f1, strict=True)
    return rows + [
        {"step": 10 * (i + 1), "eval/validation/loss": a, "eval/validation/macro_f1": b}
        for i, (a, b) in enumerate(tags)
    ]


# The records.


def test_a_run_is_read_as_what_it_is(tmp_path):
    run = read_run(write_classification_run(tmp_path, RESULTS, ROWS))
    assert isinstance(run, ClassificationRun) and run.results == RESULTS
    assert (run.last_step, run.planned, run.finished, run.state) == (50, 50, True, "finished, 50 steps")


def test_results_about_to_be_written_are_used(tmp_path):
    run = read_run(write_classification_run(tmp_path, None, ROWS), results=RESULTS)
    assert run.results is RESULTS and run.finished


def test_a_run_that_ended_early_is_finished(tmp_path):
    why = "no better score in 3 evaluations (train.patience)"
    results = dataclasses.replace(RESULTS, run=dataclasses.replace(RESULTS.run, ended_early=why))
    run = read_run(write_classification_run(tmp_path, results, ROWS, epochs=20))
    assert run.finished and run.state == f"ended early after 50 of 200 steps: {why}"
    assert severities(run)["training", "progress"] == OK


def test_a_run_in_progress_is_not(tmp_path):
    run = read_run(write_classification_run(tmp_path, None, ROWS, epochs=20))
    assert not run.finished and run.state == "not finished: step 50 of 200"
    assert severities(run)["training", "progress"] == NOTE


def test_results_of_another_kind_are_left_out_and_reported(tmp_path):
    write_classification_run(tmp_path, RESULTS, ROWS)
    (tmp_path / "results.json").write_text('{"benchmarks": {}}')
    run = read_run(tmp_path)
    (remark,) = run.remarks
    assert run.results is None and "missing required field `validation`" in remark and "\n" not in remark


# The doctor.


def test_the_doctor_on_a_valid_run(tmp_path, capsys):
    workdir = write_classification_run(tmp_path / "run", RESULTS, ROWS)
    assert call(doctor, f"--run={workdir}", f"--output={tmp_path / 'found.json'}") == 1  # it has no checkpoint
    found = json.loads((tmp_path / "found.json").read_text())["findings"]
    severities = {(f["section"], f["check"]): f["severity"] for f in found}
    assert severities.pop(("training", "checkpoints")) == FAULT
    assert set(severities.values()) == {OK}
    assert {
        ("training", "loss"), ("training", "learning rate"), ("training", "gradients"), ("training", "speed"),
        ("validation", "scores"), ("validation", "labels"), ("validation", "course"), ("test", "held"),
    } <= set(severities)  # fmt: skip
    assert call(doctor, f"--run={workdir}", "--benchmark", "a=b") == 2
    assert "is a classification run, which has none" in capsys.readouterr().err


def test_a_broken_loss_curve_is_noticed_as_in_any_run(tmp_path):
    rows = [row | {"train/learning_rate": 0.0} if "train/loss" in row else row for row in ROWS]
    rows = [row | {"train/loss": None} if row["step"] > 20 and "train/loss" in row else row for row in rows]
    found = severities(read_run(write_classification_run(tmp_path, RESULTS, rows)))
    assert found["training", "loss"] == found["training", "learning rate"] == FAULT


# Scores. The best baselines: accuracy 75%, macro F1 30%; 400 images, so two standard errors are 4.3 points.

BASELINES = {"majority": BaselineScore(0.75, 0.2), "random": BaselineScore(0.5, 0.3)}


@pytest.mark.parametrize(
    ("macro_f1", "accuracy", "severity", "word"),
    [
        (0.6, 0.9, OK, "30.00% (random) and 75.00%"),
        (0.6, 0.72, OK, "macro F1 60.00%"),
        (0.6, 0.6, NOTE, "below that of the majority"),
        (0.2, 0.75, FAULT, "nothing was learned"),
        (0.3, 0.85, WARNING, "rare labels are not found"),
    ],
)
def test_against_baselines(macro_f1, accuracy, severity, word):
    found = dataclasses.replace(RESULTS.validation, macro_f1=macro_f1, accuracy=accuracy)
    finding = classification.against_baselines(found, BASELINES)
    assert said(finding) == ("scores", severity) and word in finding.what


def test_without_baselines_there_is_nothing_to_compare():
    assert said(classification.against_baselines(RESULTS.validation, {})) == ("scores", OK)


def test_labels_that_are_never_found():
    found = of_classes(0.5, 8)
    names = list(found.labels)
    assert said(classification.labels(found)) == ("labels", OK)
    lost = found.labels | {name: dataclasses.replace(found.labels[name], f1=0.0) for name in names[:7]}
    finding = classification.labels(dataclasses.replace(found, labels=lost))
    assert said(finding) == ("labels", WARNING)
    assert finding.what.startswith(f"7 of 8 classes are never found: {names[0]}") and finding.what.endswith(
        "and 2 more"
    )
    absent = found.labels | {names[0]: dataclasses.replace(found.labels[names[0]], images=0, f1=0.0)}
    finding = classification.labels(dataclasses.replace(found, labels=absent))
    assert said(finding) == ("labels", NOTE) and names[0] in finding.what


@pytest.mark.parametrize(
    ("loss", "macro_f1", "severity", "word"),
    [
        ([2, 1.5, 1.2, 1.1], [0.3, 0.5, 0.6, 0.65], OK, "best macro F1 65.00% at step 40"),
        ([2, 1.5, 1.2, 1.25], [0.3, 0.5, 0.6, 0.58], OK, "lowest loss 1.200 at step 30"),
        ([2, 1.2, 1.6, 2.0], [0.3, 0.6, 0.55, 0.5], WARNING, "overfitting"),
        ([2, 1.2, 1.6, 2.0], [0.3, 0.6, 0.6, 0.61], NOTE, "no less accurate"),
    ],
)
def test_course(loss, macro_f1, severity, word):
    finding = classification.course(evaluated(loss, macro_f1))
    assert said(finding) == ("course", severity) and word in finding.what


@pytest.mark.parametrize("values", [[], [1.0, 0.9], [1.0, np.nan, 0.8]])
def test_a_trend_needs_three_valid_evaluations(values):
    assert classification.course(evaluated(values, values)) is None


def test_a_loss_that_rises_with_the_training_loss_is_not_overfitting():
    rows = evaluated([2, 1.2, 1.6, 2.0], [0.3, 0.6, 0.55, 0.5])
    rising = [row | {"train/loss": row["step"] / 100} if "train/loss" in row else row for row in rows]
    assert said(classification.course(rising)) == ("course", OK)


def test_test_images_that_do_not_confirm_the_validation():
    validation, test = RESULTS.validation, RESULTS.test
    assert said(classification.held(validation, test)) == ("held", OK)
    worse = dataclasses.replace(test, accuracy=validation.accuracy - 0.1)
    assert said(classification.held(validation, worse)) == ("held", WARNING)
