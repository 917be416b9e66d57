# SPDX-License-Identifier: Apache-2.0
"""The results of a run: one typed tree, valid JSON for scripts, a page for people, written atomically."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptface_jax.core.errors import InputError
from adaptface_jax.evaluation.cells import compute_cells
from adaptface_jax.evaluation.distances import pair_distances
from adaptface_jax.evaluation.gates import gate_report
from adaptface_jax.evaluation.markdown import results_markdown
from adaptface_jax.evaluation.results import BenchmarkResult, Results, read_results, write_results
from adaptface_jax.evaluation.verification import compute_domain_metrics, compute_metrics, judge_pairs
from adaptface_jax.models.recognizer import ParameterCount
from adaptface_jax.training.recognition.facts import RunFacts
from tests.made_results import benchmark_result

RUN = RunFacts("demo", "builtin", "dalora", "made faces", steps=400, seed=0, best_checkpoint=300)


def entry(seed: int, noise: float) -> BenchmarkResult:
    rng = np.random.default_rng(seed)
    left = rng.normal(size=(600, 16))
    issame = np.arange(600) % 2 == 0
    right = np.where(issame[:, None], left + noise * rng.normal(size=left.shape), rng.normal(size=left.shape))
    judged = judge_pairs(pair_distances(np.stack([left, right], axis=1).reshape(1200, 16)), issame)
    names, images = ("frontal", "posed"), np.eye(2, dtype=np.uint8)
    gates = gate_report(np.tile([0.75, 0.25], (4, 1)), images[[0, 0, 1, 1]], names)
    domains = compute_domain_metrics(judged, images[np.arange(600) // 2 % 2].astype(bool), names)
    cells = compute_cells(judged, np.arange(1200), images[np.arange(1200) // 4 % 2], names)
    return BenchmarkResult(**vars(compute_metrics(judged)), domains=domains, cells=cells, gates=gates)


@pytest.fixture(scope="module")
def results() -> Results:
    adapted, frozen = entry(0, 0.5), entry(0, 1.5)
    return Results({"made": adapted, "second": entry(1, 0.8)}, frozen={"made": frozen}, run=RUN)


def plain(**changes) -> BenchmarkResult:
    return dataclasses.replace(entry(0, 1.0), domains={}, cells=(), gates=None, **changes)


def cells(page: str, first: str) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    return [row for row in rows if row[0] == first]


# The file.


def test_all_files_are_written_and_the_json_is_what_was_given(tmp_path, results):
    write_results(tmp_path / "new", results, "# page", "<html>")
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == ["results.html", "results.json", "results.md"]
    assert (tmp_path / "new" / "results.html").read_text() == "<html>"
    assert (tmp_path / "new" / "results.md").read_text() == "# page"
    assert read_results(tmp_path / "new" / "results.json") == results


def keys(value) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


def test_no_key_holds_a_space(results):
    full = dataclasses.replace(results, parameters=(ParameterCount("adapter", 10, 10),), environment={"jax": "0.10.2"})
    written = json.loads(full.to_json())
    assert not [key for key in keys(written) if " " in key]
    assert {"accuracy", "accuracy_std", "auc", "eer", "threshold", "tar_at_far"} <= set(written["benchmarks"]["made"])


def test_unknown_values_are_left_out_of_the_file():
    written = json.loads(Results({"lfw": benchmark_result(0.9)}).to_json())
    assert set(written) == {"benchmarks"}
    assert "gates" not in written["benchmarks"]["lfw"] and written["benchmarks"]["lfw"]["tar_at_far"]["1e-2"] is None


def test_a_file_of_the_first_version_is_read():
    """It wrote some keys of `run` with spaces, and none of its other keys has changed."""
    old = json.loads(Results({"lfw": benchmark_result(0.9)}, run=RUN).to_json())
    old["run"] = {key.replace("_", " "): value for key, value in old["run"].items()}
    assert "best checkpoint" in old["run"]
    assert Results.from_json(old, "old").run == RUN


def test_keys_of_a_later_version_are_skipped():
    value = json.loads(Results({"lfw": benchmark_result(0.9)}).to_json())
    value["benchmarks"]["lfw"]["later"] = {"a": 1}
    assert Results.from_json(value | {"model": {"step": 3}}, "new").benchmarks["lfw"] == benchmark_result(0.9)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "missing required field `benchmarks`"),
        ('{"benchmarks": {"lfw": {}}}', r"missing required field `accuracy` - at `\$.benchmarks"),
        ('{"benchmarks": [1]}', "Expected `object`, got `array`"),
        ("[]", "expected an object"),
        ("{", "not readable as JSON"),
    ],
)
def test_a_file_with_other_content_gives_one_line(tmp_path, text, said):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(InputError, match=said) as error:
        read_results(tmp_path / "results.json")
    assert str(tmp_path / "results.json") in str(error.value) and "\n" not in str(error.value)


@given(st.floats(0, 1), st.dictionaries(st.text(min_size=1), st.none() | st.floats(0, 1)), st.lists(st.floats(0, 1)))
def test_any_metrics_come_back_unchanged(accuracy, tars, gates):
    given = Results({"x": benchmark_result(accuracy, tar_at_far=tars, gate_mean=tuple(gates))})
    assert Results.from_json(json.loads(given.to_json()), "made") == given


def test_a_result_that_json_cannot_hold_leaves_the_old_file_intact(tmp_path, results):
    write_results(tmp_path, results, "old", "old")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(TypeError):
        write_results(tmp_path, dataclasses.replace(results, environment={"jax": object()}), "new", "new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# The page.


def test_the_page_shows_the_metrics(results):
    page, made = results_markdown(results), results.benchmarks["made"]
    benchmark, comparison = cells(page, "made")
    low, high = made.intervals.accuracy
    assert benchmark[1:6] == [
        "600",
        f"{100 * made.accuracy:.2f}%",
        f"{100 * low:.2f} to {100 * high:.2f}",
        f"{made.intervals.people} people",
        f"{100 * made.accuracy_std:.2f}%",
    ]
    assert "n/a" in benchmark  # 300 impostors are too few for a FAR of 1e-2
    gain = 100 * (made.accuracy - results.frozen["made"].accuracy)
    assert comparison[3] == f"{gain:+.2f}"
    assert "- backbone: demo" in page and "- best checkpoint: 300" in page
    assert "upper bound" in page
    mean = 50 * (made.accuracy + results.benchmarks["second"].accuracy)
    assert cells(page, "mean")[0][2] == f"{mean:.2f}%"


def test_domains_are_next_to_the_frozen_ones_where_known(results):
    page = results_markdown(results)
    beside, alone, *_ = [row for row in cells(page, "posed") if len(row) > 3]
    domain = results.benchmarks["made"].domains["posed"]
    assert beside[3] == f"{100 * domain.accuracy:.2f}%"
    low, high = domain.intervals.accuracy
    assert beside[5] == f"{100 * low:.2f} to {100 * high:.2f}" and beside[-2:] == [
        f"{domain.intervals.people} people",
        "not tested",
    ]
    assert len(beside) == 10
    assert len(alone) == 7


def test_conditions_form_a_matrix_next_to_the_frozen_ones_where_known(results):
    page = results_markdown(results)
    beside, alone = [row for row in cells(page, "frontal") if row[1].endswith("people")]
    assert page.count("by condition") == 2 and "(" not in alone[1] and beside[2] == ""
    (cell,) = [cell for cell in results.benchmarks["made"].cells if cell.name == "frontal-frontal"]
    (before,) = [cell for cell in results.frozen["made"].cells if cell.name == "frontal-frontal"]
    gains = [100 * (cell.figures.accuracy - before.figures.accuracy), 100 * (cell.figures.auc - before.figures.auc)]
    around = cell.figures.intervals
    accuracy = "{:.2f} to {:.2f}".format(*(100 * end for end in around.accuracy))
    assert beside[1] == (
        f"{100 * cell.figures.accuracy:.2f}% [{accuracy}] ({gains[0]:+.2f}), "
        f"{cell.figures.auc:.4f} [{around.auc[0]:.3f} to {around.auc[1]:.3f}] ({gains[1]:+.2f}), "
        f"300 pairs, {around.people} people"
    )


def test_gates_are_shown_by_true_domain(results):
    page = results_markdown(results)
    assert "| posed | 0.750 | 0.250 |" in page
    assert "50.00% of 4 images" in page


def test_every_row_of_a_table_has_as_many_cells_as_its_title(results):
    tables = [part for part in results_markdown(results).split("\n\n") if part.startswith("|")]
    assert len(tables) == 8
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_benchmarks_alone_are_enough():
    page = results_markdown(Results({"lfw": plain()}))
    assert cells(page, "lfw")
    assert "adapted" not in page
    assert "domain" not in page


def test_a_run_without_benchmarks_says_so():
    assert "No benchmark was given." in results_markdown(Results({}))


def test_pixels_come_before_the_frozen_backbone(results):
    page = results_markdown(dataclasses.replace(results, pixels={"second": entry(1, 2.0)}))
    made, second = cells(page, "made")[1], cells(page, "second")[1]
    assert len(made) == len(second) == 9
    assert made[1] == "n/a"
    assert made[4].startswith("+")
    assert second[2] == second[4] == "n/a"


def test_gates_of_images_of_unknown_domain_are_averaged():
    assert "The mean gate is 0.250, 0.750" in results_markdown(Results({"lfw": plain(gate_mean=(0.25, 0.75))}))


def test_the_five_benchmarks_have_means_by_category_and_published_results():
    accuracy = {"lfw": 0.9, "cfp_fp": 0.8, "agedb_30": 0.7, "calfw": 0.6, "cplfw": 0.5}
    page = results_markdown(Results({name: benchmark_result(value) for name, value in accuracy.items()}))
    assert cells(page, "mean, pose")[0][2] == "65.00%"
    assert cells(page, "mean, age")[0][2] == "65.00%"
    assert cells(page, "mean")[0][2] == "70.00%"
    assert not cells(page, "mean, general")  # of one benchmark
    assert cells(page, "this run")[0][1:7] == ["90.00", "80.00", "70.00", "60.00", "50.00", "70.00"]
    (frozen,) = cells(page, "DINOv2 ViT-S, frozen")
    assert frozen[1:7] == ["", "", "", "", "", "64.70"]  # an average has its own column


def test_an_average_needs_all_five(results):
    page = results_markdown(Results({"lfw": plain()}))
    assert cells(page, "this run")[0][6] == "n/a"
    assert "published" not in results_markdown(results)


def test_parameters_and_machine_are_listed(results):
    parameters = (ParameterCount("adapter", 10, 10), ParameterCount("centers", None, 4))
    page = results_markdown(dataclasses.replace(results, parameters=parameters, environment={"jax": "0.10.2"}))
    assert "| adapter | 10 | 10 |" in page and "| centers |  | 4 |" in page and "- jax: 0.10.2" in page
