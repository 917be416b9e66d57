# SPDX-License-Identifier: Apache-2.0
"""`results.md` is the report of an experiment: every section is there, and every number is one of the records."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptface_jax.checks.run.records import FaceRun, read_run
from adaptface_jax.checks.run.times import Times, read_times, times_of
from adaptface_jax.config import recipes
from adaptface_jax.models.settings import checked
from adaptface_jax.report.experiment import experiment_markdown
from adaptface_jax.report.progress_bars import MOST, WIDTH, Point, bar, best, lines, loss_by_epoch
from adaptface_jax.training.monitor import read_metrics

SECTIONS = (
    "General",
    "Configuration",
    "Final results",
    "Progress of the training",
    "Analysis",
    "Comparison",
    "Files",
    "Next steps",
)


@pytest.fixture(scope="module")
def document(run) -> str:
    return (run / "results.md").read_text()


def section(document: str, title: str) -> str:
    """What stands below a heading, up to the next one of its level or above."""
    level = next(line for line in document.splitlines() if re.fullmatch(f"#+ {re.escape(title)}", line)).count("#")
    found = re.search(
        rf"^{'#' * level} {re.escape(title)}\n(.*?)(?=^#{{1,{level}}} |\Z)", document, re.DOTALL | re.MULTILINE
    )
    return found[1]


def test_every_section_is_there_in_order_and_none_is_empty(document):
    assert [line[3:] for line in document.splitlines() if line.startswith("## ")] == list(SECTIONS)
    assert all(section(document, title).strip() for title in SECTIONS)
    assert document.startswith("# small: DA-LoRA, ") and document.splitlines()[0].endswith("on demo")


def test_it_tells_when_for_how_long_where_and_by_which_command(run, document):
    general, times = section(document, "General"), read_times(run)
    environment = json.loads((run / "results.json").read_text())["environment"]
    assert re.search(r"- began: \d{4}-\d\d-\d\d \d\d:\d\d UTC\n- ended: \d{4}-\d\d-\d\d \d\d:\d\d UTC", general)
    assert re.search(r"- duration: (\d+ s|\d+ min \d\d s)\n", general) and times.sessions == 1
    assert f"- devices: {environment['devices']}" in general and f"jax {environment['jax']}" in general
    assert f"- command: `adaptface train --config={run.parent / 'small.py'} --workdir={run}`" in general


def test_the_configuration_is_that_of_the_run(run, document):
    config, rows = read_run(run).config, json.loads((run / "results.json").read_text())["parameters"]
    model, adapter = section(document, "Model"), section(document, "DA-LoRA")
    total = sum(row["total"] for row in rows if row["total"] is not None)
    trained = sum(row["trainable"] for row in rows if row["total"] is not None)
    assert f"- parameters: {total:,}" in model
    assert f"- trainable: {trained:,} ({100 * trained / total:.2f}%)" in model
    assert "- rank: 2" in adapter and "- targets: qkv, proj" in adapter and "- router: block:2" in adapter
    training, loss = section(document, "Training"), section(document, "Loss")
    assert "- steps: 16 of 16" in training and "- epochs: 4 of 4 steps" in training
    assert "- batch size: 16" in training and "- learning rate: 0.001, constant" in training
    first = next(row["train/loss"] for row in read_metrics(run) if "train/loss" in row)
    assert f"- scale: {config.loss.scale:g}" in loss and f"- margin: {config.loss.margin:g}" in loss
    assert f"- first logged: {first:.2f}" in loss


def test_the_best_evaluation_stands_beside_the_last(run, document):
    logged = [row["eval/faces/accuracy"] for row in read_metrics(run) if "eval/faces/accuracy" in row]
    (row,) = [line for line in section(document, "Final results").splitlines() if line.startswith("| faces | ")][:1]
    assert row.split(" | ")[1:3] == [f"{logged[-1]:.2%}", f"{max(logged):.2%}"]


def test_the_loss_of_every_epoch_has_a_bar_and_the_best_accuracy_a_mark(run, document):
    progress, rows = section(document, "Progress of the training"), read_metrics(run)
    for epoch in range(4):
        steps = range(4 * epoch + 1, 4 * epoch + 5)
        losses = [row["train/loss"] for row in rows if row["step"] in steps and "train/loss" in row]
        assert re.search(rf"^epoch {epoch + 1}  {sum(losses) / 4:.2f}  █", progress, re.MULTILINE)
    assert progress.count("  best\n") == 2, "of the accuracy and of the AUC"


def test_the_analysis_says_what_the_checks_found(document):
    analysis = section(document, "Analysis")
    assert "**loss**" in analysis and "**checkpoints**" in analysis and "(benchmark faces)" in analysis
    assert "**over frozen** (benchmark faces): accuracy" in analysis


def test_the_comparison_names_what_cannot_be_compared(document):
    comparison = section(document, "Comparison")
    assert "| faces |" in comparison and "None of LFW, CFP-FP, AgeDB-30, CALFW and CPLFW was evaluated" in comparison


def test_the_files_are_those_of_the_directory(run, document):
    named = re.findall(r"^\| `([^`]+)` \|", section(document, "Files"), re.MULTILINE)
    assert {"run.json", "metrics.jsonl", "evidence.jsonl", "results.json", "checkpoints/16/"} <= set(named)
    assert not [pattern for pattern in named if not list(run.glob(pattern.rstrip("/")))]


def test_the_next_steps_can_be_ticked_off(document):
    steps = section(document, "Next steps")
    assert "RUN is the folder small." in steps and "- [ ] " in steps and "`adaptface verify --run=RUN" in steps


def test_every_row_of_a_table_has_as_many_cells_as_its_title(document):
    for table in re.findall(r"(?:^\|.*\n)+", document, re.MULTILINE):
        assert len({re.sub(r"\\\|", "", line).count("|") for line in table.splitlines()}) == 1


@pytest.mark.parametrize("recipe", ["lora", "clip_lora", "dalora", "clip_dalora"])
def test_the_four_experiments_have_every_section_before_any_result(recipe, tmp_path):
    """Also where nothing of the run is there yet but its record: what is not known is left out, or said."""
    record = {"backbone": {"source": "made"}, "data": {"source": "made", "images": 490_623, "classes": 10_572}}
    document = experiment_markdown(FaceRun(tmp_path, checked(recipes.load(recipe)), record, [], None))
    assert [line[3:] for line in document.splitlines() if line.startswith("## ")] == list(SECTIONS)
    assert "- began, ended: not recorded" in document and "- epochs: 0 of 3,832 steps" in document
    assert "No benchmark was given." in document and "No step has been logged." in document
    assert ("- domains: 3" in document) == ("dalora" in recipe)


def test_a_probe_of_the_head_has_no_rank(run):
    found = read_run(run)
    config = dataclasses.replace(found.config, adapter=dataclasses.replace(found.config.adapter, kind="none"))
    document = experiment_markdown(dataclasses.replace(found, config=config))
    assert "- adapter: none: a linear probe" in document and "- rank:" not in document


# Bars.


@given(st.floats(0, 1e6), st.floats(1e-3, 1e6))
def test_a_bar_is_as_long_as_its_value(value, whole):
    length = len(bar(value, whole).rstrip("▏▎▍▌▋▊▉"))
    assert abs(length - WIDTH * min(value / whole, 1)) <= 1


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200))
def test_a_long_course_is_thinned_but_keeps_its_ends_and_its_best(values):
    points = [Point(f"epoch {i}", value) for i, value in enumerate(values, 1)]
    shown = lines(points, 100, ".2f", best(points))
    assert len(shown) <= MOST + 1 and shown[0].startswith("epoch 1 ") and shown[-1].startswith(f"epoch {len(values)} ")
    assert sum(line.endswith("best") for line in shown) == 1


def test_a_run_below_two_epochs_shows_its_rows(run):
    found = read_run(run)
    short = dataclasses.replace(found, rows=[row for row in found.rows if row["step"] <= 3])
    assert [point.label for point in loss_by_epoch(short)] == ["step 1", "step 2", "step 3"]


# Times.


def line(step: int, when: float, **more) -> dict:
    return {"step": step, "time": when, **more}


def test_the_duration_leaves_out_the_pauses_and_the_report_that_is_made_again():
    first = [line(0, 100.0, sitting={}), line(5, 110.0), line(10, 130.0)]
    second = [line(10, 1000.0, sitting={}), line(15, 1020.0), line(15, 1030.0, files={})]
    again = [line(15, 5000.0, sitting={}), line(15, 5001.0, files={})]
    assert times_of(first) == Times(100, 130, 30, 1)
    assert times_of([*first, *second, *again]) == Times(100, 1020, 50, 2)


def test_a_run_without_times_has_none(tmp_path: Path):
    assert times_of([line(0, 1.0, sitting={})]) is None and read_times(tmp_path) is None
    (tmp_path / "evidence.jsonl").write_text('{"step": 0, "sitting": {}}\n{"step": 1, "time": 1e300}\nnonsense\n')
    assert read_times(tmp_path) is None
