"""`clean`: planted faults in a folder of people are listed and shown, and nothing in it changes."""

from __future__ import annotations

import csv
import shutil

import pytest
from PIL import Image

from adaptface_jax.clean import __main__ as command
from adaptface_jax.data.sources.from_path import open_source
from tests.running import call

MODEL = ("--backbone=builtin", "--image_size=28", "--batch_size=8")


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Six generated people with six images each; `twin` has the first one's first three, a benchmark two of
    another's."""
    folder = tmp_path_factory.mktemp("clean")
    source = open_source("synthetic:identities=6,images=6,seed=1")
    for index in range(len(source)):
        file = folder / "faces" / f"p{source.labels[index]}" / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(source[index].image).save(file)
    (folder / "faces" / "twin").mkdir()
    for number in range(3):
        shutil.copy(folder / "faces" / "p0" / f"{number}.png", folder / "faces" / "twin")
    (folder / "pairs.csv").write_text("faces/p2/12.png,faces/p2/13.png,1\nfaces/p2/12.png,faces/p3/18.png,0\n")
    return folder


def test_twins_and_shared_people_are_listed_and_shown(faces, tmp_path, capsys):
    before = {path: path.stat().st_mtime_ns for path in (faces / "faces").rglob("*")}
    words = (f"--out={tmp_path / 'out.csv'}", f"--sheet={tmp_path / 'out.png'}", f"--benchmark=b={faces / 'pairs.csv'}")
    assert call(command, faces / "faces", *MODEL, *words, "--threshold=0.9") == 0
    said = capsys.readouterr().out
    assert "nothing was changed" in said and "at a similarity of 0.900 or more (given)" in said
    with open(tmp_path / "out.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    people = {(row["kind"], row["image"].split("/")[0], row["other"].rpartition("/")[0]) for row in rows}
    assert ("twins", "p0", "twin") in people
    assert ("shared", "p2", "faces/p2") in people
    with Image.open(tmp_path / "out.png") as sheet:
        assert sheet.size == (6 * 112, len(rows) * 112)
    assert before == {path: path.stat().st_mtime_ns for path in (faces / "faces").rglob("*")}


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--threshold=2"], "--threshold: 2 is not a cosine"), (["--sheet=x.pdf"], "--sheet: x.pdf is not an image")],
)
def test_bad_arguments_give_one_line(faces, tmp_path, capsys, words, said):
    assert call(command, faces / "faces", *MODEL, f"--out={tmp_path / 'out.csv'}", *words) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1 and not list(tmp_path.iterdir())
