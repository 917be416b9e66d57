"""The matrix of conditions on the pages: its values, its gains, and its readability."""

from __future__ import annotations

import dataclasses
import html
import re
import xml.etree.ElementTree as ElementTree
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adaptface_jax.evaluation.cells import Cell
from adaptface_jax.evaluation.markdown import conditions_table
from adaptface_jax.evaluation.statistics.intervals import SubsetIntervals
from adaptface_jax.evaluation.statistics.paired_test import Comparison
from adaptface_jax.evaluation.statistics.verdict import Verdict, judged
from adaptface_jax.evaluation.verification import DomainVerification
from adaptface_jax.report import svg
from adaptface_jax.report.conditions import conditions_section
from adaptface_jax.report.heat_map import Field, heat_map
from tests.made_results import benchmark_result


def comparison(accuracy: float, auc: float, p: float) -> Comparison:
    ends = (-0.1, 0.1)
    return Comparison(100, accuracy, ends, p, 9, 1, auc, ends, p, people=24, few=False)


def verdicts(p: float) -> dict[str, Verdict]:
    """As if the gains of the cells had these p-values."""
    parts = {"pose-pose": comparison(0.1, 0.05, p), "pose-light": comparison(-0.02, 0.05, p)}
    return judged({"faces": dataclasses.replace(comparison(0.1, 0.05, p), domains=parts)})


def cell(first: str, second: str, accuracy: float, auc: float | None, pairs: int = 100, **more: Any) -> Cell:
    return Cell(first, second, DomainVerification(accuracy, auc, pairs, **more))


def words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<title>.*?</title>|<[^>]+>", " ", page)).split())


ADAPTED = {
    "faces": benchmark_result(
        0.8,
        cells=(cell("pose", "pose", 0.8, 0.9), cell("pose", "light", 0.7, 0.75), cell("light", "light", 1.0, None, 7)),
    )
}
FROZEN = {"faces": benchmark_result(0.7, cells=(cell("pose", "pose", 0.7, 0.85), cell("pose", "light", 0.72, 0.70)))}


def test_each_cell_shows_its_value_its_gain_and_its_pairs():
    page = words(conditions_section(ADAPTED, FROZEN, {}))
    assert "80.0% +10.0 100 pairs" in page and "70.0% \N{MINUS SIGN}2.0 100 pairs" in page
    assert "0.900 +5.0 100 pairs" in page and "0.750 +5.0 100 pairs" in page
    assert page.count("n/a 7 pairs") == 2  # only one kind: neither an accuracy nor an AUC
    alone = words(conditions_section(ADAPTED, {}, {}))
    assert "80.0% 100 pairs" in alone
    assert conditions_section({"lfw": benchmark_result(0.9)}, {}, {}) == ""


def test_an_interval_is_shown_with_the_people_it_rests_on():
    around = SubsetIntervals((0.712, 0.868), (0.801, 0.955), people=24, few=False)
    for found, said in (
        (around, ("71.2 to 86.8 100 pairs 24 people", ".801 to .955 100 pairs 24 people")),
        (dataclasses.replace(around, people=3, few=True), ("too few to tell 100 pairs 3 people",) * 2),
    ):
        entry = benchmark_result(0.8, cells=(cell("pose", "pose", 0.8, 0.9, intervals=found),))
        page = words(conditions_section({"faces": entry}, FROZEN, {}))
        assert all(words in page for words in said)
        assert found.resting_on in conditions_table(entry.cells)


def test_gains_and_losses_that_are_shown_have_their_own_color_the_deeper_the_larger():
    for p, expected in (
        (1e-6, [("up", "0.45"), ("down", "0.09"), ("none", "1.00")]),
        (0.04, [("none", "1.00")] * 3),
    ):
        accuracy, _ = re.findall(r"<figure.*?</figure>", conditions_section(ADAPTED, FROZEN, verdicts(p)))
        assert re.findall(r'<rect class="field (\w+)" fill-opacity="([\d.]+)"', accuracy) == expected


def test_what_is_drawn_is_explained():
    (drawn, _) = re.findall(r"<svg .*?</svg>", conditions_section(ADAPTED, FROZEN, {}))
    said = ElementTree.fromstring(drawn).get("aria-label")
    assert said.startswith("Accuracy by conditions: pose with pose 80.0% (+10.0) 100 pairs; pose with light 70.0%")


@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=9, unique=True), st.floats(-1, 1))
def test_a_matrix_of_any_names_stays_within_its_frame(names, change):
    fields = {
        (row, column): Field("93.2%", "+2.00", change * (i + j) / 18, ("91.2 to 95.1", "100 pairs"))
        for i, row in enumerate(names)
        for j, column in enumerate(names)
        if i <= j
    }
    drawn = heat_map("made", names, fields)
    height = float(re.search(rf'viewBox="0 0 {svg.WIDTH} ([\d.]+)"', drawn)[1])
    for x, y, width, high in re.findall(r'x="([-\d.]+)" y="([-\d.]+)" width="([\d.]+)" height="([\d.]+)"', drawn):
        assert 0 <= float(x) <= float(x) + float(width) <= svg.WIDTH + 0.1
        assert 0 <= float(y) <= float(y) + float(high) <= height
    for y in re.findall(r'<text x="[-\d.]+" y="([-\d.]+)"', drawn):
        assert 0 < float(y) <= height
