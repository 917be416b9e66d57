# SPDX-License-Identifier: Apache-2.0
"""`results.md` of a classification run."""

from __future__ import annotations

import dataclasses

import pytest

from adaptface_jax.evaluation.classification.markdown import classification_markdown
from adaptface_jax.evaluation.classification.rankings import most_confused
from adaptface_jax.evaluation.classification.results import ClassificationResults
from tests.made_classifications import ATTRIBUTES, of_attributes, of_classes, results_of


def section(page: str, title: str) -> list[list[str]]:
    """The cells of the table below a heading with this start."""
    below = next(part for part in page.split("\n## ") if part.startswith(title))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in below.splitlines() if line[:1] == "|"]
    assert len({len(row) for row in rows}) == 1
    return rows


ATTRIBUTE_RUN = results_of(of_attributes(0.9), of_attributes(0.85, seed=1), "no better score (train.patience)")


def test_validation_and_test_are_side_by_side():
    page = classification_markdown(ATTRIBUTE_RUN)
    validation, test = ATTRIBUTE_RUN.validation, ATTRIBUTE_RUN.test
    title, _, *rows = section(page, "Results")
    assert title == ["", "validation", "test"]
    assert rows == [
        ["images", "400", "400"],
        ["loss", "0.2500", "0.2750"],
        ["accuracy", f"{100 * validation.accuracy:.2f}%", f"{100 * test.accuracy:.2f}%"],
        ["macro F1", f"{100 * validation.macro_f1:.2f}%", f"{100 * test.macro_f1:.2f}%"],
        ["exact match", f"{100 * validation.exact_match:.2f}%", f"{100 * test.exact_match:.2f}%"],
        ["checkpoint", "40", "40"],
    ]
    assert "- train data: made images" in page and "- ended early: no better score (train.patience)" in page
    assert "- jax: 0.10.2" in page and "| output | 100 | 100 |" in page


def test_baselines_are_below_the_run():
    title, _, own, majority, random = section(classification_markdown(ATTRIBUTE_RUN), "Against")
    assert title == ["", "accuracy, validation", "test", "macro F1, validation", "test"]
    assert own[1] == f"{100 * ATTRIBUTE_RUN.validation.accuracy:.2f}%"
    assert majority == ["majority", "75.00%", "75.00%", "20.00%", "20.00%"] and random[0] == "random"


def test_a_baseline_that_one_split_lacks_is_not_available_there():
    baselines = {"test": ATTRIBUTE_RUN.baselines["test"]}
    page = classification_markdown(dataclasses.replace(ATTRIBUTE_RUN, baselines=baselines))
    assert section(page, "Against")[3] == ["majority", "n/a", "75.00%", "n/a", "20.00%"]


def test_attributes_go_from_the_best_f1_to_the_worst_and_have_no_confusion():
    page = classification_markdown(ATTRIBUTE_RUN)
    rows = section(page, "By attribute, on test")[2:]
    scores = [float(row[2].rstrip("%")) for row in rows]
    assert {row[0] for row in rows} == set(ATTRIBUTES) and scores == sorted(scores, reverse=True)
    assert "Confusion" not in page
    assert section(page, "Share of the images by attribute")[0] == ["attribute", "train", "validation", "test"]


def test_a_few_classes_have_a_matrix():
    found = of_classes(0.6, 4, long=False)
    page = classification_markdown(results_of(found))
    title, _, *rows = section(page, "Confusion, on validation")
    assert title == ["true class", "class 0", "class 1", "class 2", "class 3"]
    assert [tuple(map(int, row[1:])) for row in rows] == list(found.confusion)
    assert "exact match" not in page and "test" not in page


def test_for_many_classes_the_extremes_and_most_confused_pairs_are_shown():
    found = of_classes(0.5, 200, each=5)
    page = classification_markdown(results_of(found))
    assert len(section(page, "By class")) == 22 and "the other 180 classes are in results.json" in page
    rows = section(page, "Confusion")[2:]
    assert [(row[0], row[1], int(row[2])) for row in rows] == [
        pair[:3] for pair in most_confused(found.confusion, list(found.labels))
    ]


def test_no_class_confused():
    found = dataclasses.replace(
        of_classes(1.4, 30), confusion=tuple(tuple(int(i == j) for j in range(30)) for i in range(30))
    )
    assert "No image was assigned to a wrong class." in classification_markdown(results_of(found))


@pytest.mark.parametrize("found", [of_attributes(0.7), of_classes(0.5, 3)], ids=["attributes", "classes"])
def test_metrics_alone_are_enough(found):
    page = classification_markdown(ClassificationResults(found))
    assert page.startswith("# Image classification\n\n## Results") and "baseline" not in page
