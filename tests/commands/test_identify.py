"""`identify`: people indexed, photographs searched; what is printed, written and refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adaptface_jax.identify import __main__ as identify
from tests.made_runs import write_run_with_thresholds
from tests.running import call

PEOPLE = ("ann", "bo", "cy")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_run_with_thresholds(tmp_path_factory.mktemp("runs") / "dalora")


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    """A crop of random pixels of each person."""
    folder = tmp_path_factory.mktemp("people")
    for seed, name in enumerate(PEOPLE):
        (folder / name).mkdir()
        pixels = np.random.default_rng(seed).integers(0, 256, (112, 112, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name / "0.png")
    return folder


@pytest.fixture(scope="module")
def index(run, people, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("indexes") / "people.idx"
    assert call(identify, f"--run={run}", f"--people={people}", f"--index={folder}") == 0
    return folder


def test_photographs_find_their_people_without_naming_the_model(index, run, people, tmp_path, capsys):
    out, sheet = tmp_path / "found.csv", tmp_path / "found.jpg"
    (tmp_path / "photos" / "inner").mkdir(parents=True)
    shutil.copy(people / "bo" / "0.png", tmp_path / "photos" / "inner" / "x.png")
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    words = (f"--index={index}", tmp_path / "photos", people / "cy" / "0.png", people / "cy" / "0.png", "--far=1e-1")
    assert call(identify, *words) == 0
    said = capsys.readouterr().out
    assert f"{tmp_path}/photos/inner/x.png: bo " in said and f"{people}/cy/0.png: cy " in said
    assert "2 images searched among 3 people, 2 known, 0 unknown" in said  # one was named twice
    assert f"4.0000, the threshold at FAR 1e-1 of benchmark lfw ({run}/results.json)" in said
    assert "among 3 about 27.1% of strangers' images match somebody" in said and "for 1% choose a FAR of 3e-03" in said
    assert "skipped: 1 file (1 .txt)" in said and "searched 2/2" in said
    assert call(identify, *words, f"--output={out}", f"--sheet={sheet}", "--top=2") == 0
    with open(out, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["rank"], row["person"], row["passes"]) for row in rows if row["rank"] == "1"] == [
        ("1", "bo", "1"),
        ("1", "cy", "1"),
    ]
    assert len(rows) == 4
    with Image.open(sheet) as picture:
        assert picture.size == (5 * 112, 2 * 112)


def test_nobody_passes_a_strict_threshold_and_without_one_nothing_is_decided(index, people, tmp_path, capsys):
    out = tmp_path / "found.json"
    photo = people / "ann" / "0.png"
    assert call(identify, f"--index={index}", photo, "--threshold=0", f"--output={out}") == 0
    found = json.loads(out.read_text())
    assert found["people"] == 3 and found["false_hit_chance"] is None and found["threshold"]["value"] == 0
    (one,) = found["images"]
    assert one["person"] is None and one["hits"][0]["name"] == "ann" and one["hits"][0]["same"] is False
    assert call(identify, f"--index={index}", photo, "--threshold=0") == 0
    assert f"{photo}: unknown (most like ann " in capsys.readouterr().out
    words = ("--backbone=builtin", "--image_size=28", f"--people={people}")
    assert call(identify, *words, photo) == 0
    said = capsys.readouterr().out
    assert f"{photo}: most like ann " in said
    assert "nothing is decided: --backbone: no threshold is stored with it" in said


def test_an_index_of_a_backbone_opens_it_as_it_was(people, tmp_path, capsys):
    index = tmp_path / "b.idx"
    words = ("--backbone=builtin", "--image_size=28", "--stored_size=120", f"--people={people}", f"--index={index}")
    assert call(identify, *words) == 0
    assert "an index of 3 people" in capsys.readouterr().out
    assert call(identify, f"--index={index}", people / "bo") == 0
    said = capsys.readouterr().out
    assert "120 px stored -> 28 px in the model" in said and said.count(": most like bo") == 1


def test_what_cannot_be_searched_is_listed_and_the_rest_is_searched(index, people, tmp_path, capsys):
    bad, out = tmp_path / "bad.png", tmp_path / "found.csv"
    bad.write_bytes(b"no image")
    words = (f"--index={index}", bad, people / "ann" / "0.png", "--far=1e-1", f"--output={out}")
    assert call(identify, *words) == 1
    said = capsys.readouterr()
    assert said.err == "error: 1 of 2 images could not be searched; the list says why\n"
    assert "1 known, 0 unknown, 1 not searched" in said.out
    with open(out, newline="", encoding="utf-8") as file:
        first, second, *_ = csv.DictReader(file)
    assert first["image"] == str(bad) and "cannot decode" in first["problem"] and not first["person"]
    assert second["person"] == "ann"


def test_bad_arguments_give_one_line(index, run, people, tmp_path, capsys):
    photo = people / "ann" / "0.png"
    (tmp_path / "moved").mkdir()
    cases = {
        (photo,): "--index: names the index to search",
        (f"--people={people}", photo): "--people: needs a model",
        (f"--index={index}",): "nothing to search",
        (f"--index={index}", f"--people={people}", f"--run={run}"): "exists; omit --people",
        (
            f"--index={people}",
            f"--people={people}",
            f"--run={run}",
            "--overwrite",
        ): "holds something other than a face index",
        (f"--index={index}", "--image_size=28", photo): "--index: its model is opened as it was",
        (f"--index={index}", tmp_path / "nowhere.png"): "nowhere.png: no such file or folder",
        (f"--index={index}", tmp_path / "moved"): "contains no image",
        (f"--index={tmp_path / 'moved'}", photo): "holds no face index",
        (f"--index={index}", "--backbone=builtin", photo): "is the index of another model",
        (f"--index={index}", "--far=1e-4", photo): "--far: 0.0001 is not known for lfw",
        (f"--index={index}", "--top=0", photo): "--top: 0 is out of range",
        (f"--index={index}", "--output=found.txt", photo): "--output: found.txt ends in neither",
    }
    for words, expected in cases.items():
        assert call(identify, *words) == 2, words
        error = capsys.readouterr().err
        assert expected in error and error.count("\n") == 1


def test_an_index_whose_run_is_missing_asks_for_it(people, index, run, tmp_path, capsys):
    moved = tmp_path / "there"
    shutil.copytree(run, moved)
    copy = tmp_path / "copy.idx"
    shutil.copytree(index, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    from adaptface_jax.core.manifest import change_facts

    change_facts(copy, opened=manifest["facts"]["opened"] | {"run": str(tmp_path / "gone")})
    assert call(identify, f"--index={copy}", people / "bo") == 2
    assert "gone, which does not exist; name it with --run" in capsys.readouterr().err
    assert call(identify, f"--index={copy}", f"--run={moved}", "--far=1e-1", people / "bo") == 0
