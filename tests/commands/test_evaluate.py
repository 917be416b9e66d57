"""`python -m adaptface_jax.evaluate`: several kinds of benchmarks in one command."""

from __future__ import annotations

import json

import numpy as np
import pytest

from adaptface_jax import evaluate
from adaptface_jax.evaluation.pair_scores import read_scores
from tests.evaluation.forms import write_faces
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


def test_everything_in_one_command(data, capsys):
    arguments = (f"--benchmark=mine={data}", f"--benchmark=again={data}/pairs.csv", f"--ijb={data / 'IJBX'}")
    people = (f"--gallery={data / 'known'}", f"--probes={data / 'seen'}")
    files = (f"--output={data / 'out.json'}", f"--scores={data / 'out.npz'}")
    assert call(evaluate, *MODEL, *arguments, *people, *files) == 0
    found = json.loads((data / "out.json").read_text())
    assert set(found) == {"model", "benchmarks", "templates", "identification"}
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
    assert "rank-1 100.00%" in page and "ijbx: 3 templates" in page and "| mine | 12 |" in page


def test_flags_that_make_no_sense_are_one_line(data, capsys):
    cases = {
        (): "nothing to evaluate",
        (f"--gallery={data / 'known'}",): "--gallery and --probes belong together",
        (f"--gallery={data / 'known'}", f"--probes={data}/known/"): "--probes: is the gallery itself",
        (f"--ijb={data / 'IJBX'}", "--scores=x.npz"): "--scores: keeps the scores of --benchmark",
        (f"--benchmark=mine={data / 'known'}",): "holds no list of pairs",
        (f"--ijb={data}",): "no file ends in _face_tid_mid.txt",
    }
    for arguments, words in cases.items():
        assert call(evaluate, *MODEL, *arguments) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1


def test_an_image_that_is_none_is_named(data, capsys):
    (data / "seen" / "bo" / "2.png").write_bytes(b"no image")
    assert call(evaluate, *MODEL, f"--benchmark=mine={data}") == 2
    assert "seen/bo/2.png: cannot decode the image" in capsys.readouterr().err
