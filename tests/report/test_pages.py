"""The pages: the metrics of the run, whether it helped and where, and errors in a folder."""

from __future__ import annotations

import dataclasses
import html
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptface_jax.checks.run.records import read_run
from adaptface_jax.core.text import signed
from adaptface_jax.evaluation.pair_scores import SCORES, PairScores, read_scores
from adaptface_jax.evaluation.plots import Curve
from adaptface_jax.evaluation.results import BenchmarkResult, Results
from adaptface_jax.evaluation.roc import roc_curve
from adaptface_jax.evaluation.statistics.paired_test import compare
from adaptface_jax.evaluation.statistics.verdict import judged
from adaptface_jax.report import __main__ as report
from adaptface_jax.report import charts, hover, svg
from adaptface_jax.report.about import training_seconds
from adaptface_jax.report.benchmarks import answer, published_table
from adaptface_jax.report.drawing import distance_chart, roc_chart
from adaptface_jax.report.paired_tests import compared, paired_tables
from adaptface_jax.report.run_page import run_page
from adaptface_jax.report.tables import table
from adaptface_jax.report.work import names
from adaptface_jax.training.monitor import read_metrics
from tests.made_results import benchmark_result
from tests.running import call


def words(page: str) -> str:
    """The text of a page, without tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.S))).split())


def entry(accuracy: float, **domains: float) -> BenchmarkResult:
    return benchmark_result(accuracy, domains)


# The page of a run.


def test_the_page_describes_the_run(run):
    page = words((run / "results.html").read_text())
    results = json.loads((run / "results.json").read_text())
    faces, frozen = results["benchmarks"]["faces"], results["frozen"]["faces"]
    for figure in (faces["accuracy"], frozen["accuracy"], *(d["accuracy"] for d in faces["domains"].values())):
        assert f"{100 * figure:.2f}%" in page
    low, high = faces["intervals"]["accuracy"]
    assert f"{100 * low:.1f} to {100 * high:.1f}" in page and "6 people: too few to tell" in page
    assert f"{100 * faces['gates']['agreement']:.2f}%" in page
    assert results["environment"]["jax"] in page and results["environment"]["processor"] in page
    for row in results["parameters"]:
        assert f"{row['trainable']:,}" in page
    assert "finished, 16 steps" in page and "router block:2" in page and "not measured" not in page
    assert "train.learning_rate 0.001 0.0001" in page  # the setting, its value, its default
    assert f"adaptface train --config={run.parent / 'small.py'} --workdir={run}" in page
    assert "These benchmarks' faces are synthetic." in page and "○ Too few people to say" in page
    assert "Evaluate it on photographs of people" in page and "▲" not in page and "▼" not in page


def test_the_parameters_are_those_of_the_model(run):
    rows = {row["part"]: row for row in json.loads((run / "results.json").read_text())["parameters"]}
    assert rows["centers"] == {"part": "centers", "total": None, "trainable": 6 * 512}
    assert rows["backbone"]["trainable"] == 0 and rows["router"]["trainable"] == rows["router"]["total"] > 0


def test_the_page_is_self_contained(run):
    page = (run / "results.html").read_text()
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    assert set(re.findall(r"""(?:src|href)=["']?([^"'>]*)""", page)) == {"data:,", "#findings"}
    parts = re.findall(r'id="([^"]*)"', page)
    assert len(parts) == len(set(parts)) and set(re.findall(r"url\(#([^)]*)\)", page)) <= set(parts)
    assert "url(" not in page.replace("url(#", "") and "@import" not in page
    assert "<script" not in page and "http" not in page.replace("http-equiv", "")
    for drawn in re.findall(r"<svg .*?</svg>", page, flags=re.S):
        element = ElementTree.fromstring(drawn)
        assert element.get("role") == "img" and element.get("aria-label")
        assert "nan" not in drawn.replace("nand", "")


def test_running_train_again_makes_the_same_page(run, tmp_path):
    before = run_page(read_run(run))
    copied = Path(shutil.copytree(run, tmp_path / run.name))
    assert run_page(read_run(copied)) == before


def test_training_time_is_the_sum_of_the_logged_steps(run):
    rows = [row for row in read_metrics(run) if "train/images_per_second" in row]
    expected = sum(16 / row["train/images_per_second"] for row in rows)  # every step is logged
    assert training_seconds(read_run(run)) == pytest.approx(expected)


# Whether it helped, and on what.


RESULTS = Results(
    {"faces": entry(0.85, pose=0.82, light=0.9)},
    frozen={"faces": entry(0.7, pose=0.8, light=0.6)},
    pixels={"faces": entry(0.55)},
)


def test_the_answer_is_colored_as_the_verdict_is_and_not_as_the_sign():
    """The same numbers: for a significant difference, its opposite, and one within chance."""
    good, bad = scores(0, 0.3), scores(1, 1.0)
    same = dataclasses.replace(good, accepted=good.accepted ^ (np.arange(400) < 3))
    for before, after, kind, said in (
        (bad, good, "up", "▲ DA-LoRA raised accuracy by"),
        (good, bad, "down", "▼ DA-LoRA lowered accuracy by"),
        (same, good, "quiet", "○ No difference between DA-LoRA and the frozen backbone is shown."),
    ):
        page = answer("DA-LoRA", RESULTS, judged({"faces": compare(before, after)}))
        assert f'<p class="answer"><span class="{kind}"' in page and said in words(page)
        assert ('class="main"' in page) == (kind != "quiet")
        assert "55.00%" in page and "70.00%" in page and "85.00%" in page
        painted = set(re.findall(r'class="(up|down|tick|quiet)[^"]*">[+\N{MINUS SIGN}]', page))
        assert painted <= {"tick", kind}, "a domain that was not tested has no color"


def test_a_difference_that_was_not_tested_is_not_claimed():
    page = words(answer("DA-LoRA", RESULTS, {}))
    assert "was not tested: the scores of their pairs are not stored" in page and "raised" not in page


def test_averages_are_compared_only_with_averages():
    names = ("lfw", "cfp_fp", "agedb_30", "calfw", "cplfw")
    whole = words(published_table("LoRA", {name: entry(0.9) for name in names}))
    assert "this run: LoRA 90.00 90.00 90.00 90.00 90.00 90.00" in whole
    part = words(published_table("LoRA", {"lfw": entry(0.9)}))
    assert "this run: LoRA 90.00 n/a" in part and "CFP-FP, AgeDB-30, CALFW, CPLFW are missing" in part
    assert "nothing is comparable" in words(published_table("LoRA", {"mine": entry(0.9)}))


def scores(seed: int, spread: float) -> PairScores:
    rng = np.random.default_rng(seed)
    issame = np.arange(400) % 2 == 0
    distance = np.clip(np.where(issame, 1.0, 2.0) + spread * rng.standard_normal(400), 0, 4)
    return PairScores(distance, issame, distance < 1.5, np.arange(800, dtype=np.int32))


def tables_of(**runs: PairScores) -> str:
    return words(paired_tables(judged(compared({name: {"faces": kept} for name, kept in runs.items()}, ["faces"]))))


def test_two_runs_are_tested_on_their_pairs():
    bad, good = scores(1, 1.0), scores(0, 0.3)
    found, page = compare(bad, good), tables_of(a=bad, b=good)
    assert f"a → b 400 600 people raised {signed(found.accuracy_difference)}" in page
    assert f"{found.only_first:,} {found.only_second:,}" in page


def test_runs_of_different_pairs_are_not_tested_against_each_other():
    one, two = scores(0, 0.3), scores(1, 0.3)
    two = PairScores(two.distance[:200], two.issame[:200], two.accepted[:200], two.index[:400])
    assert "nothing can be tested" in tables_of(a=one, b=two)


# The command.


def test_runs_side_by_side(run, other, tmp_path):
    assert call(report, run, other, f"--out={tmp_path}") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "other.html", "small.html"]
    page = words((tmp_path / "index.html").read_text())
    assert "2 runs side by side" in page and "adapter.rank 2 4" in page
    first, second = (read_scores(folder / SCORES / "faces.npz")["faces"] for folder in (run, other))
    assert signed(compare(first, second).accuracy_difference) in page
    assert '<a href="index.html">' in (tmp_path / "small.html").read_text()


def test_a_run_in_progress_says_so(run, tmp_path, capsys):
    going = Path(shutil.copytree(run, tmp_path / "going", ignore=shutil.ignore_patterns("results.*", "scores")))
    lines = (going / "metrics.jsonl").read_text().splitlines(keepends=True)
    last = next(i for i, line in enumerate(lines) if "eval/faces/accuracy" in line)
    (going / "metrics.jsonl").write_text("".join(lines[: last + 1]))
    assert call(report, going, f"--out={tmp_path / 'out'}") == 0
    page = words((tmp_path / "out" / "going.html").read_text())
    assert "not finished: step 8 of 16" in page and "Accuracy so far: faces" in page
    (going / "metrics.jsonl").unlink()
    assert call(report, going, f"--out={tmp_path / 'out'}") == 0
    assert "nothing has been evaluated yet" in words((tmp_path / "out" / "going.html").read_text())


def test_a_corrupted_run_gives_one_line_and_writes_nothing(run, tmp_path, capsys):
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    (folder / "run.json").write_text("{broken\n")
    assert call(report, folder, f"--out={tmp_path / 'out'}") == 2
    error = capsys.readouterr().err
    assert str(folder) in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_a_folder_that_is_not_a_run(run, tmp_path, capsys):
    assert call(report, run, tmp_path, f"--out={tmp_path / 'out'}") == 2
    assert f"error: {tmp_path} contains no run" in capsys.readouterr().err
    assert call(report, run, run, f"--out={tmp_path / 'out'}") == 2
    assert "is given twice" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert call(report, run, f"--out={tmp_path / 'file'}") == 2
    assert "is a file" in capsys.readouterr().err


def test_runs_of_one_name_are_distinguished(tmp_path):
    folders = [tmp_path / "a" / "exp", tmp_path / "b" / "exp", tmp_path / "c" / "index"]
    assert list(names(folders)) == ["a-exp", "b-exp", "index-run"]
    clashing = [tmp_path / name for name in ("a/b", "c/b", "q/a-b", "x/index-run", "y/index")]
    assert list(names(clashing)) == ["a-b", "c-b", "a-b-2", "index-run", "index-run-2"]


def test_every_run_has_a_page_that_its_link_finds(run, tmp_path):
    folders = [
        tmp_path / name for name in ("a/b", "c/b", "q/a-b", "exp#1", "run-15:43", "100%", "line\nbreak", "x" * 255)
    ]
    for folder in folders:
        shutil.copytree(run, folder, ignore=shutil.ignore_patterns("checkpoints", "events*", "0*", "scores"))
    assert call(report, *map(str, folders), f"--out={tmp_path / 'pages'}") == 0
    index = (tmp_path / "pages" / "index.html").read_text()
    links = {unquote(link) for link in re.findall(r'href="([^"#]+\.html)"', index)}
    assert links == {path.name for path in (tmp_path / "pages").iterdir()} - {"index.html"} and len(links) == len(
        folders
    )


# Charts and tables.


def numbers(drawn: str) -> list[float]:
    return [float(value) for value in re.findall(r'(?:x|y|cx|cy|x1|x2|y1|y2|width|height)="(-?[\d.]+)"', drawn)]


@given(st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1, max_size=80))
def test_any_curve_is_drawn_within_its_frame(values):
    y = np.array(values)
    drawn = charts.curves("made", [charts.Line("made", np.arange(len(y)), y, "main")], smooth=True)
    assert bool(drawn) == bool(np.isfinite(y).any())
    assert "nan" not in drawn and "inf" not in drawn
    assert all(-1 <= value <= svg.WIDTH + 1 for value in numbers(drawn))
    for line in re.findall(r'points="([^"]*)"', drawn):
        for point in line.split():
            across, down = map(float, point.split(","))
            assert 0 <= across <= svg.WIDTH and 0 <= down <= svg.HEIGHT


@given(st.floats(-1e5, 1e5), st.floats(1e-6, 1e6))
def test_ticks_are_round_and_inside(low, span):
    found = svg.ticks(low, low + span)
    assert 1 <= len(found) <= 12
    assert all(low - 1e-6 * span <= value <= low + 1.000001 * span + 1e-9 * abs(low) for value in found)


def test_a_plot_takes_its_colors_and_fonts_from_the_page():
    kept = scores(0, 0.5)
    curve = Curve("made", roc_curve(kept.distance, kept.issame), "main")
    for drawn in (
        roc_chart("a", [curve, dataclasses.replace(curve, name="b", paint="c0")]),
        distance_chart("a", kept, 1.5),
    ):
        assert not re.findall(r"#[0-9a-f]{6}|font-", drawn) and "var(--main)" in drawn
        assert "<style" not in drawn and "<metadata" not in drawn
    assert f"AUC {curve.roc.auc():.4f}" in roc_chart("a", [curve])
    assert roc_chart("a", [curve]) == roc_chart("a", [curve])


def told(drawn: str) -> list[str]:
    """What a chart shows under the pointer, from left to right."""
    return [words(shown) for shown in re.findall(r'<rect class="tip".*?</text>', drawn)]


def test_a_curve_shows_the_nearest_logged_values():
    lines = [
        charts.Line("a", np.array([0, 100, 200]), np.array([0.5, 0.25, 0.75]), "c0"),
        charts.Line("b", np.array([0, 200]), np.array([1.0, np.nan]), "c1"),
    ]
    drawn = charts.curves("made", lines, as_percent=True)
    assert told(drawn) == ["step 0 ● b 100.00% ● a 50.00%", "step 100 ● a 25.00%", "step 200 ● a 75.00%"]
    table = words(drawn.partition("<details")[2])
    assert "step a b step 0 50.00% 100.00% step 100 25.00% n/a step 200 75.00% n/a" in table
    steps = np.arange(1, 1001)
    many = charts.Line("a", steps, steps / 1.0, "c0"), charts.Line("b", steps[::10] + 4, steps[::10] / 1.0, "c1")
    stops = told(charts.curves("made", many))
    assert len(stops) == hover.STOPS and stops[0].startswith("about step 1 ● ") and stops[-1].endswith("● b 991")


def test_a_roc_shows_its_tars_from_ten_false_accepts():
    kept = scores(0, 0.5)
    roc = roc_curve(kept.distance, kept.issame)  # of 200 impostors
    expected = [f"FAR {100 * far:g}% ● made {roc.tar_at_far(far):.2%}" for far in (0.05, 0.1, 0.2, 0.5)]
    assert told(roc_chart("a", [Curve("made", roc, "main")])) == expected


def test_a_row_of_a_long_benchmark_keeps_its_domain():
    assert charts.row_label("my_own_photographs: light") == "my_own_photo…: light"
    assert charts.row_label("lfw: light") == "lfw: light" and len(charts.row_label("x" * 50)) == charts.NAME


def test_shares_fill_their_bar():
    drawn = charts.shares("made", {"pose": [0.5, 0.25, 0.25]}, ["a", "b", "c"])
    widths = [float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', drawn)]
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.2)


def test_names_from_outside_stay_text():
    evil = "<script>alert(1)</script>"
    shown = table(evil, [evil], [("", [evil])])
    shown += charts.gains("made", [charts.Gain(evil, 0.1, 0.2)], evil, evil)
    shown += charts.shares("made", {evil: [1.0]}, [evil])
    shown += charts.dots("made", {evil: [(evil, 0.5, "c0")]})
    assert "<script" not in shown
