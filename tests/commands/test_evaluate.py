"""`python -m adaptface_jax.evaluate`: several kinds of benchmarks in one command."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
from PIL import Image

from adaptface_jax.checks.run.records import read_run
from adaptface_jax.evaluate import __main__ as evaluate
from adaptface_jax.evaluation.pair_scores import read_scores
from adaptface_jax.evaluation.recorded_searches import EVENTS, FILE, read_searches
from adaptface_jax.report.searches import searches_section
from adaptface_jax.training.monitor import read_metrics
from tests.evaluation.forms import write_faces
from tests.evaluation.searched import write_ijb, write_tinyface
from tests.made_runs import write_run_with_thresholds
from tests.running import call

MODEL = ("--backbone=builtin", "--batch_size=8")


@pytest.fixture
def data(tmp_path):
    for part in ("known", "seen"):
        write_faces(tmp_path / part, [f"{name}/{i}.png" for name in ("ann", "bo", part) for i in (1, 2)])
    rows = [f"known/{a}/1.png,seen/{b}/2.png,{int(a == b)}" for a in ("ann", "bo") for b in ("ann", "bo", "seen")]
    (tmp_path / "pairs.csv").write_text("\n".join(rows * 2) + "\n")
    ijb = tmp_path / "IJBX"
    write_faces(ijb, [f"{i}.png" for i in range(6)])
    (ijb / "x_face_tid_mid.txt").write_text("".join(f"{i}.png {i // 2} {i}\n" for i in range(6)))
    (ijb / "x_template_pair_label.txt").write_text("0 0 1\n0 1 0\n1 2 0\n")
    return tmp_path


@pytest.mark.parametrize(("genuine", "impostor"), [(1, 1), (2, 1), (1, 2)])
def test_a_list_too_short_for_folds_is_refused_in_one_line_that_says_what_else_to_do(data, capsys, genuine, impostor):
    pairs = ["known/ann/1.png,seen/ann/2.png,1", "known/bo/1.png,seen/bo/2.png,1"][:genuine]
    pairs += ["known/ann/1.png,seen/bo/2.png,0", "known/bo/1.png,seen/ann/2.png,0"][:impostor]
    (data / "few.csv").write_text("\n".join(pairs) + "\n")
    assert call(evaluate, *MODEL, f"--benchmark=few={data / 'few.csv'}") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"error: few: folds: {genuine} genuine and {impostor} impostor pairs; expected at least two of each"
    )
    assert "`adaptface verify` compares two images" in line


def test_everything_in_one_command(data, capsys):
    arguments = (f"--benchmark=mine={data}", f"--benchmark=again={data}/pairs.csv", f"--ijb={data / 'IJBX'}")
    people = (f"--gallery={data / 'known'}", f"--probes={data / 'seen'}")
    files = (f"--output={data / 'out.json'}", f"--scores={data / 'out.npz'}")
    assert call(evaluate, *MODEL, *arguments, *people, *files) == 0
    found = json.loads((data / "out.json").read_text())
    assert set(found) == {"model", "benchmarks", "templates", "identification"}  # no 1:N lists
    assert found["benchmarks"]["mine"] == found["benchmarks"]["again"]
    assert found["templates"]["ijbx"]["images"] == 6
    identified = found["identification"]
    # The same bytes are in both folders, so every probe finds itself; `seen` is a stranger.
    assert (identified["people"], identified["known_probes"], identified["unknown_probes"]) == (3, 4, 2)
    assert identified["rank1"] == 1.0
    scores = read_scores(data / "out.npz")
    assert list(scores) == ["mine", "again"]
    assert scores["mine"].distance.shape == (12,)
    assert np.mean(scores["mine"].right) == pytest.approx(found["benchmarks"]["mine"]["accuracy"], abs=0.2)
    page = capsys.readouterr().out
    assert f"{data}/seen/ann/1.png: most like ann " in page and "nothing is decided" in page
    assert "rank-1 100.00%" in page and "ijbx: 3 templates" in page and re.search(r"^\| mine +\| +12 \|", page, re.M)


def test_searches_are_listed_and_stored_with_the_run(data, tmp_path_factory, capsys):
    run = write_run_with_thresholds(tmp_path_factory.mktemp("runs") / "dalora")
    write_ijb(data / "IJBY", people=4, probes=1)
    write_tinyface(data / "tiny")
    write_faces(data / "others", [f"{i}.png" for i in range(3)])
    (data / "others" / "broken.png").write_bytes(b"broken")
    words = (f"--run={run}", "--batch_size=8", f"--distractors={data / 'others'}", "--record")
    people = (f"--gallery={data / 'known'}", f"--probes={data / 'seen'}", "--far=1e-1")
    files = (f"--hits={data / 'hits.csv'}", f"--sheet={data / 'hits.png'}", f"--output={data / 'out.json'}")
    sets = (f"--ijb={data / 'IJBY'}", f"--tinyface={data / 'tiny'}")
    assert call(evaluate, *words, *sets, *people, *files) == 0
    page, found = capsys.readouterr().out, json.loads((data / "out.json").read_text())
    assert list(found["searches"]) == ["ijby_G1", "ijby_G2", "ijby_mean", "tiny"]
    assert found["searches"]["tiny"]["distractors"] == 5 + 3 and found["identification"]["distractors"] == 3
    # The run's threshold at FAR 1e-1 is 4, which everybody passes, strangers included.
    rank1 = found["identification"]["rank1"]
    assert found["identification"]["at_threshold"] == {"threshold": 4.0, "found": rank1, "false_hits": 1.0}
    assert "6 images searched among 3 people, 6 known, 0 unknown" in page
    assert f"--distractors: unreadable: 1 image, skipped\n  {data}/others/broken.png: cannot decode" in page
    assert "4.0000, the threshold at FAR 1e-1 of benchmark lfw" in page and "27.1% of strangers' images" in page
    with open(data / "hits.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 * 3 and {row["person"] for row in rows} == {"ann", "bo", "known"}
    assert {row["passes"] for row in rows} == {"1"}
    with Image.open(data / "hits.png") as sheet:
        assert sheet.size == (8 * 112, 6 * 112)
    kept = read_searches(run)
    assert list(kept) == ["ijby_G1", "ijby_G2", "ijby_mean", "tiny", "identification"]
    assert {entry.step for entry in kept.values()} == {7}
    assert kept["tiny"].figures.rank1 == found["searches"]["tiny"]["rank1"]
    # Another call adds to them, and TensorBoard has all.
    assert call(evaluate, f"--run={run}", "--batch_size=8", f"--tinyface={data / 'tiny'}", "--record") == 0
    again = read_searches(run)
    assert again.keys() == kept.keys() and again["tiny"].figures.distractors == 5
    lines = read_metrics(run / EVENTS)
    assert {line["step"] for line in lines} == {7} and len(lines) == 5
    assert any(0 <= line.get("eval/tiny/rank20", -1) <= 1 for line in lines)
    shown = searches_section(read_run(run).searches.found)
    assert "ijby_mean" in shown and "step 7" in shown and "Rank-1 by the number of distractors" in shown
    (run / FILE).write_text("{")
    assert read_run(run).searches.found == {} and "skipped" in read_run(run).searches.remarks[0]


def test_flags_that_make_no_sense_give_one_line(data, capsys):
    people = (f"--gallery={data / 'known'}", f"--probes={data / 'seen'}")
    cases = {
        (f"--benchmark=mine={data}", "--hits=x.csv"): "--hits: is for a search of --probes",
        (f"--ijb={data / 'IJBX'}", f"--distractors={data / 'seen'}"): "--distractors: is for searches; give --ijb with",
        (f"--ijb={data / 'IJBX'}", f"--ijb={data / 'IJBX'}"): "another folder is also called ijbx",
        (*people, "--hits=x.txt"): "--hits: x.txt ends in neither .csv nor .json",
        (*people, "--record"): "--record: stores metrics with a run; give --run",
        (*people, "--far=1e-3"): "--backbone: no threshold is stored with it",
        (*people, f"--distractors={data / 'seen'}"): "--distractors: ann is also in the gallery or the probes (3 are)",
        (): "nothing to evaluate",
        (f"--gallery={data / 'known'}",): "--gallery and --probes belong together",
        (f"--gallery={data / 'known'}", f"--probes={data}/known/"): "--probes: is the gallery itself",
        (f"--ijb={data / 'IJBX'}", "--scores=x.npz"): "--scores: writes the scores of --benchmark",
        (f"--benchmark=mine={data / 'known'}",): "holds no pair list",
        (f"--ijb={data}",): "no file is named *_face_tid_mid.txt",
    }
    for arguments, words in cases.items():
        assert call(evaluate, *MODEL, *arguments) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1


def test_a_file_that_is_not_an_image_is_named(data, capsys):
    (data / "seen" / "bo" / "2.png").write_bytes(b"no image")
    assert call(evaluate, *MODEL, f"--benchmark=mine={data}") == 2
    assert "seen/bo/2.png: cannot decode the image" in capsys.readouterr().err


def test_before_evaluates_the_frozen_model_on_the_same_pairs(data, capsys):
    run = write_run_with_thresholds(data / "run")
    out = data / "before.json"
    words = (f"--run={run}", "--batch_size=8", f"--benchmark=mine={data}/pairs.csv", "--before", f"--output={out}")
    assert call(evaluate, *words) == 0
    said = capsys.readouterr().out
    found = json.loads(out.read_text())
    frozen, adapted = found["before"]["benchmarks"]["mine"], found["benchmarks"]["mine"]
    change = found["before"]["changes"]["mine"]
    assert change["accuracy_difference"] == pytest.approx(adapted["accuracy"] - frozen["accuracy"])
    assert frozen["auc"] != adapted["auc"] and change["pairs"] == adapted["pairs"]
    assert "from the frozen model to this one:\nmine: accuracy " in said


def test_before_needs_a_run_and_pairs(data, capsys):
    assert call(evaluate, *MODEL, f"--benchmark=mine={data}", "--before") == 2
    assert capsys.readouterr().err.startswith("error: --before: compares a run with its frozen model")
