"""The pages of classification runs, alone and side by side."""

from __future__ import annotations

import dataclasses
import html
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from adaptface_jax.checks.run.classification import noise
from adaptface_jax.checks.run.records import read_run
from adaptface_jax.config.classification import ModelConfig
from adaptface_jax.config.schema import Config
from adaptface_jax.core.json_io import to_json
from adaptface_jax.core.text import signed
from adaptface_jax.evaluation.classification.rankings import by_f1, most_confused
from adaptface_jax.evaluation.classification.results import ClassificationResults
from adaptface_jax.report import __main__ as report
from adaptface_jax.report.classification.comparison import standing
from adaptface_jax.report.classification.labels import labels_section
from adaptface_jax.report.classification.scores import answer
from adaptface_jax.report.drawing import confusion_chart
from adaptface_jax.report.run_page import run_page
from tests.made_classifications import of_attributes, of_classes, results_of, rows_of, write_classification_run
from tests.running import call

WHY = "no better score in 3 evaluations (train.patience)"


def words(page: str) -> str:
    """The text of a page, without tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.S))).split())


def percent(value: float) -> str:
    return f"{100 * value:.2f}%"


def written(folder: Path, results: ClassificationResults, **train: float) -> Path:
    return write_classification_run(folder, results, rows_of(results), **train)


@pytest.fixture(scope="module")
def attributes(tmp_path_factory) -> Path:
    results = results_of(of_attributes(0.9), of_attributes(0.85, seed=1))
    return written(tmp_path_factory.mktemp("attributes"), results)


@pytest.fixture(scope="module")
def classes(tmp_path_factory) -> Path:
    results = results_of(of_classes(0.6, 20))
    model = ModelConfig(name="resnet")
    return write_classification_run(tmp_path_factory.mktemp("classes"), results, rows_of(results), model)


# The page of a run.


def test_the_page_describes_a_run_of_attributes(attributes):
    run = read_run(attributes)
    page, validation, test = words(run_page(run)), run.results.validation, run.results.test
    assert f"The CNN has {percent(test.macro_f1)} macro F1 and {percent(test.accuracy)} accuracy on 400 test" in page
    assert f"All attributes are correct for {percent(test.exact_match)} of the images" in page
    gain = 100 * (test.macro_f1 - 0.3)
    assert f"Macro F1 is {gain:.2f} points above the best baseline, random (30.00%)" in page
    assert f"this run {percent(validation.macro_f1)} {percent(test.macro_f1)} {percent(validation.accuracy)}" in page
    for name, score in test.labels.items():
        figures = (score.f1, score.precision, score.recall, score.accuracy)
        assert f"{name} {score.images:,} {' '.join(map(percent, figures))}" in page
    assert "finished, 50 steps" in page and "best checkpoint step 40" in page and "processor made" in page
    assert "train.learning_rate 0.001 0.0001" in page  # the setting, its value, its default
    assert "True against predicted" not in page
    for title in ("Loss", "Accuracy", "Macro F1 on validation", "F1 on validation", "F1 by attribute"):
        assert f"<figcaption>{title}</figcaption>" in run_page(run)


def test_the_page_describes_a_run_of_classes(classes):
    run = read_run(classes)
    page, found = words(run_page(run)), run.results.validation
    assert f"The ResNet has {percent(found.macro_f1)} macro F1" in page and "1,000 validation images" in page
    assert "Every class has about the same number of images: 5.00% of each split." in page
    for pair in most_confused(found.confusion, list(found.labels)):
        assert f"{pair.true} {pair.predicted} {pair.images:,} {percent(pair.share)}" in page
    right = sum(row[i] for i, row in enumerate(found.confusion))
    assert f"{right:,} of 1,000 images of 20 classes on the diagonal" in run_page(run)


def test_for_many_classes_the_extremes_are_shown_and_the_rest_folded():
    found = of_classes(0.5, 60, each=5)
    shown, folded = labels_section(results_of(found)).split("<details>")
    order = by_f1(found.labels)
    assert all(f">{name}</th>" in shown for name in order[:10] + order[-10:])
    assert not any(f">{name}</th>" in shown for name in order[10:-10])
    assert all(f">{name}</th>" in folded for name in order) and "All 60 classes" in folded


@pytest.mark.parametrize("kind", ["attributes", "classes"])
def test_the_page_is_self_contained(kind, request):
    page = run_page(read_run(request.getfixturevalue(kind)))
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    places = set(re.findall(r"""(?:src|href)=["']?([^"'>]*)""", page))
    assert {place for place in places if not place.startswith("data:")} <= {"#findings"} | {
        f"#{name}" for name in re.findall(r'id="([^"]*)"', page)
    }
    assert "<script" not in page and "http" not in page.replace("http-equiv", "")
    for drawn in re.findall(r"<svg .*?</svg>", page, flags=re.S):
        element = ElementTree.fromstring(drawn)
        assert element.get("role") == "img" and element.get("aria-label")
        assert "nan" not in re.sub(r"data:[^\"]*", "", drawn)
    assert page == run_page(read_run(request.getfixturevalue(kind)))


def test_a_run_that_ended_early_says_why(tmp_path):
    run = read_run(written(tmp_path, results_of(of_attributes(0.9), ended_early=WHY), epochs=20))
    page = run_page(run)
    assert f"ended early after 50 of 200 steps: {WHY}" in page and "not finished" not in page


def test_a_run_in_progress_says_so(tmp_path):
    results = results_of(of_attributes(0.9))
    rows = rows_of(results)
    page = words(run_page(read_run(write_classification_run(tmp_path, None, rows[:33]))))
    reached = results.validation.macro_f1 * (0.4 + 0.6 * 30 / 50)
    assert "not finished: step 30 of 50" in page and f"On validation so far: {percent(reached)} macro F1" in page
    assert "nothing has been evaluated yet" in words(run_page(read_run(write_classification_run(tmp_path, None, []))))


def test_a_run_below_the_baselines_is_reported():
    found = dataclasses.replace(of_attributes(0.9), macro_f1=0.25, accuracy=0.75)
    page = words(answer("The CNN", results_of(found)))
    assert "Macro F1 is 5.00 points below the best baseline, random (30.00%)" in page
    assert "accuracy is 0.00 points above the best baseline, majority (75.00%), no difference shown on" in page


def test_names_from_outside_stay_text():
    evil = "<script>alert(1)</script>"
    found = of_classes(0.5, 3)
    labels = dict(zip([evil, *list(found.labels)[1:]], found.labels.values(), strict=True))
    results = results_of(dataclasses.replace(found, labels=labels))
    shown = labels_section(results) + answer("The CNN", results)
    shown += confusion_chart("made", found.confusion, list(labels))
    assert "<script" not in shown


def test_a_matrix_takes_its_colors_from_the_page():
    found = of_classes(0.5, 5)
    drawn = confusion_chart("made", found.confusion, list(found.labels))
    assert not re.findall(r"#[0-9a-f]{6}|font-", drawn)
    assert "var(--card)" in drawn and "var(--ink)" in drawn and "var(--soft)" in drawn


# Side by side.


@pytest.fixture(scope="module")
def several(tmp_path_factory) -> dict[str, Path]:
    """Three runs that differ in skill and settings, the second best in progress."""
    folder = tmp_path_factory.mktemp("several")
    results = {name: results_of(of_attributes(skill)) for name, skill in (("low", 0.7), ("high", 0.95))}
    runs = {name: written(folder / name, found, learning_rate=0.1) for name, found in results.items()}
    middle = results_of(of_attributes(0.85))
    runs["middle"] = write_classification_run(folder / "middle", None, rows_of(middle), weight_decay=0.2)
    return runs


def test_the_best_run_comes_first(several, tmp_path):
    assert call(report, *several.values(), f"--out={tmp_path}") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["high.html", "index.html", "low.html", "middle.html"]
    page = (tmp_path / "index.html").read_text()
    assert re.findall(r'<a href="([a-z]*)\.html">', page) == ["high", "middle", "low"]
    text, found = words(page), {name: standing(read_run(run)) for name, run in several.items()}
    ahead = found["high"].accuracy - found["middle"].accuracy > 2 * noise(found["high"].accuracy, 400)
    said = "high is better, with" if ahead else "No run is shown to be better. high has"
    assert f"{said} the highest macro F1 on validation: {percent(found['high'].macro_f1)}" in text
    assert f"middle, has {signed(found['middle'].macro_f1 - found['high'].macro_f1)} points in macro F1" in text
    assert "run train.learning_rate train.weight_decay macro F1, validation test" in text
    for name, settings in {"high": "0.1 0.05", "low": "0.1 0.05"}.items():
        assert f"{name} finished, 50 steps {settings} {percent(found[name].macro_f1)}" in text
    assert f"middle not finished: step 50 of 50 0.001 0.2 {percent(found['middle'].macro_f1)} so far" in text
    for title in ("Training loss", "Validation loss", "Macro F1 on validation", "Learning rate"):
        assert f"<figcaption>{title}</figcaption>" in page
    assert '<a href="index.html">' in (tmp_path / "low.html").read_text()


def test_runs_that_differ_in_much_have_a_table_of_it(several, tmp_path):
    other = write_classification_run(tmp_path / "b", None, [], ModelConfig(name="resnet", dropout=0.2), epochs=7)
    text = _side_by_side([several["low"], other], tmp_path / "out")
    assert "Settings in which they differ setting low b model.dropout 0 0.2 model.name cnn resnet" in text
    assert "resnet of 2, 2, 2 blocks at 64 px" in text


def test_a_run_in_progress_is_ranked_by_its_best_evaluation(several, tmp_path):
    rows = rows_of(results_of(of_attributes(0.85)))
    worse = {"step": 60, "eval/validation/macro_f1": 0.1, "eval/validation/accuracy": 0.1, "eval/validation/loss": 9.0}
    found = standing(read_run(write_classification_run(tmp_path, None, [*rows, worse])))
    assert found == standing(read_run(several["middle"])) and found.step == 50
    assert standing(read_run(write_classification_run(tmp_path, None, rows[:5]))) is None


def test_a_non_finite_loss_is_not_available(several, tmp_path):
    rows = [
        {"step": 10, "eval/validation/macro_f1": None, "eval/validation/accuracy": 0.2, "eval/validation/loss": None},
        {"step": 20, "eval/validation/macro_f1": 0.3, "eval/validation/accuracy": 0.4, "eval/validation/loss": None},
    ]
    folder = write_classification_run(tmp_path / "broken", None, rows)
    found = standing(read_run(folder))
    assert (found.macro_f1, found.step) == (0.3, 20) and np.isnan(found.loss)
    page = _side_by_side([folder, several["high"]], tmp_path / "out")
    assert "30.00% so far n/a 40.00% n/a n/a n/a n/a 20" in page


def test_runs_of_other_data_are_not_called_comparable(several, classes, tmp_path):
    assert "not trained on the same images" not in _side_by_side(several.values(), tmp_path / "same")
    record = (classes / "run.json").read_text()
    other = write_classification_run(tmp_path / "other", None, [])
    (other / "run.json").write_text(record.replace('"images": 640', '"images": 700'))
    assert "not trained on the same images" in _side_by_side([several["low"], other], tmp_path / "out")


def _side_by_side(runs, out: Path) -> str:
    assert call(report, *runs, f"--out={out}") == 0
    return words((out / "index.html").read_text())


def test_one_run_alone_is_a_page_too(attributes, tmp_path):
    assert "1 run side by side" in _side_by_side([attributes], tmp_path)


def test_faces_and_classes_are_not_compared(attributes, tmp_path, capsys):
    faces = tmp_path / "faces"
    faces.mkdir()
    record = {"config": dataclasses.asdict(Config()), "backbone": {"source": "random"}}
    (faces / "run.json").write_text(to_json(record | {"data": {"source": "made", "images": 640, "classes": 5}}))
    assert call(report, faces, attributes, f"--out={tmp_path / 'out'}") == 2
    error = capsys.readouterr().err
    assert f"{faces} is a face run and {attributes} a classification run; name runs of one kind" in error
    assert error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_a_run_within_chance_of_the_next_is_not_called_better(several, tmp_path):
    """The same run twice."""
    shutil.copytree(several["high"], tmp_path / "again")
    assert call(report, several["high"], tmp_path / "again", f"--out={tmp_path / 'out'}") == 0
    assert "No run is shown to be better." in words((tmp_path / "out" / "index.html").read_text())
