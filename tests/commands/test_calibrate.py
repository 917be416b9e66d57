"""A threshold from a folder of photographs: what is printed, stored, used by `verify` and from Python, and refused."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import adaptface_jax as af
from adaptface_jax.api.rule import OF_ANOTHER
from adaptface_jax.api.site_file import read_site_file
from adaptface_jax.api.site_name import SITE
from adaptface_jax.calibrate import __main__ as calibrate
from adaptface_jax.core.text import short_names
from adaptface_jax.evaluation.pair_scores import SCORES, PairScores, write_each
from adaptface_jax.identify import __main__ as identify
from adaptface_jax.verify import __main__ as verify
from tests.made_runs import write_run_with_thresholds
from tests.running import call

PHOTOGRAPHS = 64


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """With the distances of lfw's 600 pairs, from 0 up for one person, down from 4 for two."""
    run = write_run_with_thresholds(tmp_path_factory.mktemp("runs") / "dalora")
    issame = np.arange(600) < 300
    distances = np.where(issame, np.linspace(0, 2, 600), np.linspace(1, 4, 600))
    write_each(run / SCORES, {"lfw": PairScores(distances, issame, distances < 1.5, np.arange(1200))})
    return run


@pytest.fixture(scope="module")
def pile(tmp_path_factory) -> Path:
    """Crops, an invalid one, and a text file."""
    folder = tmp_path_factory.mktemp("pile")
    rng = np.random.default_rng(0)
    for number in range(PHOTOGRAPHS):
        coarse = rng.integers(0, 256, (7, 7, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((112, 112)).save(folder / f"{number:02d}.png")
    (folder / "broken.jpg").write_bytes(b"no image")
    (folder / "notes.txt").write_text("who is who is not known")
    return folder


@pytest.fixture(scope="module")
def calibrated(run, pile) -> tuple[Path, str]:
    """The file of the thresholds, away from the run, and the output."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert call(calibrate, f"--run={run}", pile) == 0
    return (run / SITE).rename(run.parent / "site.json"), out.getvalue()


@pytest.fixture(scope="module")
def found(calibrated) -> Path:
    return calibrated[0]


def test_it_reports_thresholds_as_odds_and_what_smaller_fars_would_take(calibrated):
    found, said = calibrated
    assert f"{PHOTOGRAPHS} photographs, 2,016 pairs" in said
    assert "skipped: " in said and "broken.jpg" in said and "1 .txt" in said
    assert "% left out, all doubles together are at most" in said and "stricter than asked for, not looser" in said
    assert "FAR 1e-1: threshold " in said and "1 stranger in 10 passes (at most 1 in " in said
    assert "FAR 1e-4: unknown; it takes about 450 photographs" in said
    assert read_site_file(found).site.photographs == PHOTOGRAPHS


def test_the_threshold_is_the_share_of_pairs_that_it_promises(run, pile, found):
    model = af.open(run, batch_size=64)
    units = model.embed(sorted(pile.glob("*.png"))).embeddings
    distances = (2 - 2 * units @ units.T)[np.triu_indices(PHOTOGRAPHS, 1)]
    kept = read_site_file(found)
    distances = distances[np.argsort(distances)[round(kept.site.doubles * len(distances)) :]]
    assert (distances < kept.site.at_far["1e-1"].value).mean() == pytest.approx(0.1, abs=2e-3)
    assert kept.fingerprint == model.fingerprint and kept.pile == pile.name


def test_verify_reads_it_from_a_file_or_from_the_run(run, pile, found, tmp_path, capsys):
    one, other = pile / "00.png", pile / "01.png"
    value = read_site_file(found).site.at_far["1e-1"].value
    words = (f"--run={run}", one, other)
    (run / SITE).write_bytes(found.read_bytes())
    out = tmp_path / "out.json"
    for more in ([f"--results={found}"], []):
        assert call(verify, *words, "--far=1e-1", *more, f"--output={out}") == 0
        assert json.loads(out.read_text())["threshold"] == {"value": value, "far": "1e-1", "benchmark": None}
        said = capsys.readouterr().out
        assert "the threshold at FAR 1e-1 of this site" in said
        assert f"measured on {PHOTOGRAPHS} photographs of this site ({pile.name}), nobody labeled" in said
    assert af.open(run).rule(far=0.1).threshold.value == value
    assert af.open(run).rule(far=0.1, benchmark="lfw").threshold == af.Threshold(4.0, "1e-1", "lfw")
    assert call(verify, *words, "--far=1e-4") == 2
    assert "it takes about 448 photographs, and there were 64); expected one of 1e-1" in capsys.readouterr().err
    assert call(verify, *words, f"--results={found}", "--benchmark=lfw") == 2
    assert "holds the thresholds of a site" in capsys.readouterr().err
    (run / SITE).unlink()


def test_its_risk_is_not_claimed_for_another_model(found, pile, capsys):
    other = af.open("builtin", image_size=28, results=found)
    decision = other.verify(pile / "00.png", pile / "01.png", far=0.1)
    assert decision.risk is None and decision.note == OF_ANOTHER
    people = other.index()
    people.add("anna", pile / "00.png")
    hits = people.search(pile / "00.png", far=0.1)
    assert hits.hits[0][0].same and hits.note == OF_ANOTHER and hits.false_hit_chance is None


def test_identify_names_it(found, pile, tmp_path, capsys):
    (tmp_path / "people" / "anna").mkdir(parents=True)
    (tmp_path / "people" / "anna" / "0.png").write_bytes((pile / "00.png").read_bytes())
    words = ("--backbone=builtin", "--image_size=28", f"--people={tmp_path / 'people'}", f"--results={found}")
    assert call(identify, *words, pile / "00.png", "--far=0.1") == 0
    said = capsys.readouterr().out
    assert "1 known, 0 unknown" in said and f"note: {OF_ANOTHER}" in said and "of strangers' images" not in said


def test_with_stored_scores_a_benchmark_threshold_has_a_risk_and_ratio(run, pile, capsys):
    """Given thresholds too: 100 of 300 impostors are below 3, where a genuine pair never is."""
    assert call(verify, f"--run={run}", pile / "00.png", pile / "00.png", "--threshold=3.0033", "--checkpoint=7") == 0
    said = capsys.readouterr().out
    assert "at this threshold 1 stranger in 3" in said and "measured on lfw: 600 pairs" in said
    assert "same person more likely: the distance is below" in said
    assert "likelihood ratio " in said and " at least " in said
    rule = af.open(run).rule(threshold=3.0033)
    assert rule.risk.interval[0] < rule.risk.far < rule.risk.interval[1]


def test_too_few_photographs_or_no_output_give_one_line(run, pile, tmp_path, capsys):
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(pile.glob("*.png"))[:9]:
        (few / path.name).write_bytes(path.read_bytes())
    assert call(calibrate, f"--run={run}", few, f"--out={tmp_path / 'x.json'}") == 2
    assert "9 photographs are too few; expected 20 or more" in capsys.readouterr().err
    assert call(calibrate, "--backbone=builtin", pile) == 2
    error = capsys.readouterr().err
    assert "--out: a backbone has no folder" in error and error.count("\n") == 1
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/a/b/x.jpg", "/a/c/y.jpg"], ["x.jpg", "y.jpg"]),
        (["/a/b/x.jpg", "/a/c/x.jpg"], ["b/x.jpg", "c/x.jpg"]),
        (["x.jpg", "x.jpg"], ["x.jpg", "x.jpg"]),
        (["image 0", "image 1"], ["image 0", "image 1"]),
        (["/p/x.jpg", "x.jpg"], ["p/x.jpg", "x.jpg"]),
        ([], []),
    ],
)
def test_names_are_as_short_as_distinguishes_them(paths, names):
    assert short_names(paths) == names
