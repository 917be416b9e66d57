"""The report: valid JSON for scripts, a page for people, never half of either."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from adaptface_jax.evaluation.gates import gate_report
from adaptface_jax.evaluation.results import results_page, write_results
from adaptface_jax.evaluation.verification import verify, verify_by_domain


def entry(seed: int, noise: float) -> dict:
    rng = np.random.default_rng(seed)
    left = rng.normal(size=(600, 16))
    issame = np.arange(600) % 2 == 0
    right = np.where(issame[:, None], left + noise * rng.normal(size=left.shape), rng.normal(size=left.shape))
    embeddings = np.stack([left, right], axis=1).reshape(1200, 16)
    domains = verify_by_domain(embeddings, issame, np.arange(600) // 2 % 2, ("frontal", "posed"))
    gates = gate_report(np.tile([0.75, 0.25], (4, 1)), np.array([0, 0, 1, 1]), ("frontal", "posed"))
    return verify(embeddings, issame).to_json() | {
        "domains": {name: figures.to_json() for name, figures in domains.items()},
        "gates": gates.to_json(),
    }


@pytest.fixture(scope="module")
def results() -> dict:
    adapted, frozen = entry(0, 0.5), entry(0, 1.5)
    return {
        "run": {"backbone": "demo", "step": 400},
        "benchmarks": {"made": adapted, "second": entry(1, 0.8)},
        "frozen": {"made": frozen},
    }


def cells(page: str, first: str) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    return [row for row in rows if row[0] == first]


def test_both_files_are_written_and_the_json_is_what_was_given(tmp_path, results):
    write_results(tmp_path / "new", results, "<html>")
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == ["results.html", "results.json", "results.md"]
    assert (tmp_path / "new" / "results.html").read_text() == "<html>"
    assert json.loads((tmp_path / "new" / "results.json").read_text()) == results


def test_the_page_shows_the_figures(results):
    page, made = results_page(results), results["benchmarks"]["made"]
    benchmark, comparison = cells(page, "made")
    low, high = made["intervals"]["accuracy"]
    assert benchmark[1:6] == [
        "600",
        f"{100 * made['accuracy']:.2f}%",
        f"{100 * low:.2f} to {100 * high:.2f}",
        f"{100 * made['accuracy_std']:.2f}%",
        f"{made['auc']:.4f}",
    ]
    assert "n/a" in benchmark  # 300 impostors are too few for a FAR of 1e-2
    gain = 100 * (made["accuracy"] - results["frozen"]["made"]["accuracy"])
    assert comparison[3] == f"{gain:+.2f}"
    assert "- backbone: demo" in page
    assert "upper bound" in page
    mean = 50 * (made["accuracy"] + results["benchmarks"]["second"]["accuracy"])
    assert cells(page, "mean")[0][2] == f"{mean:.2f}%"


def test_domains_stand_beside_the_frozen_ones_where_known(results):
    page = results_page(results)
    beside, alone, *_ = [row for row in cells(page, "posed") if len(row) > 3]
    domain = results["benchmarks"]["made"]["domains"]["posed"]
    assert beside[3] == f"{100 * domain['accuracy']:.2f}%"
    assert len(beside) == 6
    assert len(alone) == 4


def test_gates_are_shown_by_true_domain(results):
    page = results_page(results)
    assert "| posed | 0.750 | 0.250 |" in page
    assert "50.00% of 4 images" in page


def test_every_row_of_a_table_has_as_many_cells_as_its_title(results):
    tables = [part for part in results_page(results).split("\n\n") if part.startswith("|")]
    assert len(tables) == 6
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_benchmarks_alone_are_enough(tmp_path, results):
    plain = {name: value for name, value in entry(0, 1.0).items() if name not in ("domains", "gates")}
    page = results_page({"benchmarks": {"lfw": plain}})
    assert cells(page, "lfw")
    assert "adapted" not in page
    assert "domain" not in page


def test_a_run_without_benchmarks_says_so():
    assert "No benchmark was given." in results_page({"benchmarks": {}, "frozen": {}})


def test_pixels_stand_before_the_frozen_backbone(results):
    page = results_page(results | {"pixels": {"second": entry(1, 2.0)}})
    made, second = cells(page, "made")[1], cells(page, "second")[1]
    assert len(made) == len(second) == 8
    assert made[1] == "n/a"
    assert made[4].startswith("+")
    assert second[2] == second[4] == "n/a"


def test_gates_of_images_whose_domain_nobody_knows_are_averaged(results):
    plain = {name: value for name, value in entry(0, 1.0).items() if name != "gates"}
    assert "mean gate is 0.250, 0.750" in results_page({"benchmarks": {"lfw": plain | {"gate_mean": [0.25, 0.75]}}})


def test_numpy_values_and_nan_give_valid_json(tmp_path, results):
    write_results(tmp_path, results | {"run": {"loss": math.nan, "steps": np.int64(3), "mean": np.ones(2)}}, "")
    strict = json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)
    assert strict["run"] == {"loss": None, "steps": 3, "mean": [1.0, 1.0]}


def test_a_result_that_cannot_be_written_leaves_the_old_one_whole(tmp_path, results):
    write_results(tmp_path, results, "old")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(TypeError):
        write_results(tmp_path, results | {"run": {"model": object()}}, "new")
    with pytest.raises(KeyError):
        write_results(tmp_path, {"benchmarks": {"made": {}}}, "new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_five_benchmarks_have_means_by_category_and_stand_beside_published_figures(results):
    plain = {name: value for name, value in entry(0, 1.0).items() if name not in ("domains", "gates")}
    accuracy = {"lfw": 0.9, "cfp_fp": 0.8, "agedb_30": 0.7, "calfw": 0.6, "cplfw": 0.5}
    benchmarks = {name: plain | {"accuracy": value} for name, value in accuracy.items()}
    page = results_page({"benchmarks": benchmarks})
    assert cells(page, "mean, pose")[0][2] == "65.00%"
    assert cells(page, "mean, age")[0][2] == "65.00%"
    assert cells(page, "mean")[0][2] == "70.00%"
    assert not cells(page, "mean, general")  # of one benchmark
    assert cells(page, "this run")[0][1:7] == ["90.00", "80.00", "70.00", "60.00", "50.00", "70.00"]
    (frozen,) = cells(page, "DINOv2 ViT-S, frozen")
    assert frozen[1:7] == ["", "", "", "", "", "64.70"]  # an average has a column of its own


def test_an_average_needs_all_five(results):
    plain = {name: value for name, value in entry(0, 1.0).items() if name not in ("domains", "gates")}
    page = results_page({"benchmarks": {"lfw": plain}})
    assert cells(page, "this run")[0][6] == "n/a"
    assert "published" not in results_page(results)


def test_parameters_and_machine_are_told(results):
    parameters = [{"part": "adapter", "total": 10, "trainable": 10}, {"part": "centres", "total": None, "trainable": 4}]
    page = results_page(results | {"parameters": parameters, "environment": {"jax": "0.10.2"}})
    assert "| adapter | 10 | 10 |" in page and "| centres |  | 4 |" in page and "- jax: 0.10.2" in page
