"""`pairs`, and the training set without the people that it holds out."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from adaptface_jax.config.schema import DataConfig
from adaptface_jax.core.errors import InputError
from adaptface_jax.data.benchmarks.from_path import open_benchmark
from adaptface_jax.data.decode import decode
from adaptface_jax.data.sources.from_path import open_source, open_training
from adaptface_jax.pairs import __main__ as command
from tests.running import call

PEOPLE, IMAGES = 12, 6
POSES, LIGHT = ("frontal", "left", "right"), ("good", "dark", "")


@pytest.fixture
def faces(tmp_path):
    """Twelve people with six small images each, one person with one; labels of pose and light, a third without
    light."""
    folder, lines = tmp_path / "faces", ["path,pose,light"]
    for person in range(PEOPLE):
        (folder / f"p{person:02d}").mkdir(parents=True)
        for number in range(IMAGES if person else 1):
            key = f"p{person:02d}/{number}.png"
            Image.fromarray(np.full((4, 4, 3), 20 * person + number, np.uint8)).save(folder / key)
            lines.append(f"{key},{POSES[number % 3]},{LIGHT[(number // 2) % 3]}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder


def rows(path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_held_out_people_and_the_training_set_without_them(faces, capsys):
    out = faces / "pairs.csv"
    assert call(command, faces, f"--out={out}", "--people=0.5", "--pairs=60") == 0
    said = capsys.readouterr().out
    assert "6 of 12 (seed 0)" in said and f"--config.data.exclude={out} --benchmark held={out}" in said
    benchmark = open_benchmark(str(out))
    assert benchmark.issame.sum() == 30 and len(benchmark.issame) == 60 and len(np.unique(benchmark.fold)) == 2
    held = {key.split("/")[0] for key in benchmark.keys}
    assert len(held) == 6 and "p00" not in held, "one image makes no genuine pair"
    left = open_training(DataConfig(train=str(faces), exclude=str(out)))
    whole = open_source(str(faces))
    assert list(left.class_names) == [name for name in whole.class_names if name not in held]
    assert [left.key(i) for i in range(len(left))] == [
        k for k in map(whole.key, range(len(whole))) if k[:3] not in held
    ]
    for index in (0, len(left) - 1):
        record = left[index]
        assert record.label == left.labels[index] and left.class_names[record.label] == record.key[:3]
    assert set(left.labels) == set(range(6)) and f"6 identities of {out} excluded" in left.description
    first = open_training(DataConfig(train=str(faces), exclude=str(out), max_identities=2))
    assert list(first.class_names) == list(left.class_names[:2])


def test_the_seed_chooses_people_and_pairs_and_the_same_call_is_the_same_file(faces, tmp_path):
    files = [tmp_path / f"{number}.csv" for number in range(3)]
    for file, seed in zip(files, (0, 0, 1), strict=True):
        assert call(command, faces, f"--out={file}", "--people=5", "--pairs=40", f"--seed={seed}") == 0
    one, again, other = (file.read_bytes() for file in files)
    assert one == again != other
    assert call(command, faces, f"--out={files[0]}", "--people=5", "--pairs=40") == 0
    listed = open_benchmark(f"{faces}:{files[0]}")
    assert len(listed.issame) == 40
    assert open_training(DataConfig(train=str(faces), exclude=f"{faces}:{files[0]}")).num_classes == PEOPLE - 5


def test_images_that_cannot_be_read_are_in_no_pair_and_are_named(faces, capsys):
    broken = {f"p{person:02d}/{number}.png" for person in range(1, 5) for number in (0, 3)}
    for key in broken:
        (faces / key).write_bytes(b"broken")
    for number in range(IMAGES):
        (faces / f"p05/{number}.png").write_bytes(b"")
    out = faces / "pairs.csv"
    assert call(command, faces, f"--out={out}", "--people=10", "--pairs=100", "--bin") == 0
    said = capsys.readouterr().out
    drawn = {row[column] for row in rows(out) for column in ("path1", "path2")}
    assert len(rows(out)) == 100 and not drawn & broken and not any(key.startswith("p05") for key in drawn)
    assert (
        f"unreadable: {len(broken) + IMAGES} images, skipped" in said
        and "\n  p01/0.png: cannot decode the image" in said
    )
    assert len(open_benchmark(str(out.with_suffix(".bin"))).issame) == 100


def test_conditions_are_crossed(faces, capsys):
    out = faces / "pairs.csv"
    words = ("--people=11", "--pairs=200", "--domains=pose=left|right; light=dark")
    assert call(command, faces, f"--out={out}", *words) == 2, "nobody would be left to train on"
    assert "--people: 11 of 12" in capsys.readouterr().err
    assert call(command, faces, f"--out={out}", "--people=9", *words[1:]) == 0
    said = capsys.readouterr().out
    assert "pose - light: " in said and "ordinary - ordinary: " in said
    table = rows(out)
    assert list(table[0]) == ["path1", "path2", "same", "fold", "domain1", "domain2"]
    known = {row["path"]: row for row in rows(faces / "labels.csv")}
    for row in table:
        for path, domain in ((row["path1"], row["domain1"]), (row["path2"], row["domain2"])):
            pose, light = known[path]["pose"], known[path]["light"]
            held = [name for name, there in (("pose", pose != "frontal"), ("light", light == "dark")) if there]
            assert domain == ("+".join(held) or ("ordinary" if light else "")) != ""
    cells = {}
    for row in table:
        cells.setdefault(frozenset((row["domain1"], row["domain2"])), []).append(row["same"] == "1")
    assert all(np.mean(truth) == 0.5 for truth in cells.values())
    benchmark = open_benchmark(str(out))
    assert set(benchmark.domain_names) == {"pose", "light", "ordinary"} and benchmark.image_domain.any(axis=1).all()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--pairs=7"], "--pairs: 7 is not an even number"),
        (["--people=0"], "--people: 0 of 12 identities, 11 of which have two images"),
        (["--people=3.5"], "--people: 3.5 of 12"),
        (["--people=12"], "expected a fraction or number that gives 2 to 10 people"),
        (["--labels=x.csv"], "--labels: unused without --domains"),
        (["--domains=poes=left"], "has no column 'poes'"),
        (["--domains=pose=lefd"], "no image has pose = 'lefd'"),
    ],
)
def test_bad_arguments_give_one_line(faces, capsys, words, said):
    assert call(command, faces, f"--out={faces / 'pairs.csv'}", *words) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1 and not (faces / "pairs.csv").exists()


def test_an_existing_file_is_not_overwritten(faces, capsys):
    (faces / "pairs.csv").write_text("mine")
    assert call(command, faces, f"--out={faces / 'pairs.csv'}") == 2
    assert "exists with other content" in capsys.readouterr().err and (faces / "pairs.csv").read_text() == "mine"


def test_images_that_are_not_files_make_no_list(tmp_path, capsys):
    assert call(command, "synthetic:identities=8,images=3,seed=1", f"--out={tmp_path / 'pairs.csv'}") == 2
    assert "its images are not separate files" in capsys.readouterr().err


def test_a_training_list_of_the_others_and_a_pack_of_the_same_pairs(faces, tmp_path, capsys):
    out = tmp_path / "lists" / "pairs.csv"
    out.parent.mkdir()
    assert call(command, faces, f"--out={out}", "--holdout=0.5", "--pairs=60", "--bin") == 0
    assert "pairs.csv, " in (said := capsys.readouterr().out)
    listed, packed = open_benchmark(f"{faces}:{out}"), open_benchmark(str(out.with_suffix(".bin")))
    assert f"train={out.with_suffix('.train.csv')} --benchmark held={out.with_suffix('.bin')}" in said
    np.testing.assert_array_equal(packed.issame, listed.issame)
    np.testing.assert_array_equal(packed.index, listed.index)
    assert {decode(image, "crop").shape for image in packed.images} == {(112, 112, 3)}
    training = open_source(str(out.with_suffix(".train.csv")))
    held = {key.split("/")[0] for key in listed.keys}
    assert set(training.class_names) == {f"p{person:02d}" for person in range(PEOPLE)} - held
    assert len(training) == sum(IMAGES if name != "p00" else 1 for name in training.class_names)
    assert training[0].image == (faces / training.class_names[0] / "0.png").read_bytes()


def test_either_people_or_holdout(faces, capsys):
    assert call(command, faces, f"--out={faces / 'pairs.csv'}", "--people=0.5", "--holdout=0.5") == 2
    assert "not allowed with" in capsys.readouterr().err


def test_people_missing_from_the_training_set_are_an_error(faces, tmp_path):
    (faces / "pairs.csv").write_text("path1,path2,same\np01/0.png,p01/1.png,1\np01/0.png,p02/1.png,0\n")
    other = tmp_path / "other"
    for name in ("p01", "p03", "p04"):
        (other / name).mkdir(parents=True)
        (other / name / "1.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"'p02/1.png', but 'p02' is not an identity of identity folders in .*other"):
        open_training(DataConfig(train=str(other), exclude=str(faces / "pairs.csv")))
    assert open_training(DataConfig(train=str(faces), exclude=str(faces / "pairs.csv"))).num_classes == PEOPLE - 2
    for nothing in ("synthetic:identities=8,images=6,seed=1,pairs=20", str(tmp_path / "absent.csv")):
        with pytest.raises(InputError):
            open_training(DataConfig(train=str(faces), exclude=nothing))
