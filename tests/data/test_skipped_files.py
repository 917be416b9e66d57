# SPDX-License-Identifier: Apache-2.0
"""Files in = used + named as skipped: whatever the nesting, the endings and the odd files around them."""

from __future__ import annotations

import csv
import dataclasses
import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from adaptface_jax.align.folder import encoded as as_crop
from adaptface_jax.checks.finding import Severity
from adaptface_jax.checks.setup.selection import selection
from adaptface_jax.clean import __main__ as clean
from adaptface_jax.core.errors import InputError
from adaptface_jax.data.decode import decode
from adaptface_jax.data.image_files import ImageFiles, images_below
from adaptface_jax.data.image_formats import SUFFIXES, reads_heif
from adaptface_jax.data.skipped_files import SkippedFiles
from adaptface_jax.data.sources.from_path import open_source
from adaptface_jax.data.sources.parts import open_parts
from adaptface_jax.embed import __main__ as embed
from adaptface_jax.evaluate import __main__ as evaluate
from adaptface_jax.pack import __main__ as pack
from adaptface_jax.pairs import __main__ as pairs
from adaptface_jax.train import __main__ as train
from tests.running import call, write_config

from .packing import encoded, identity_payloads, picture, write_records

RGB = picture(0, 20, 10)
FILES = {form: encoded(RGB, form) for form in ("JPEG", "PNG", "PPM", "BMP", "WEBP", "TIFF", "GIF", "AVIF")}
# The beginning of a file as telephones write it: what it is stands in its first bytes.
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
WORDS = b"these are words"

names = st.sampled_from(("a", "B", "1", "über", "mid dle", "x.y"))
folders = st.lists(names, max_size=3).map("/".join)
# name, content, whether it is read
files = st.one_of(
    st.tuples(names, st.sampled_from([*SUFFIXES, ".JPG", ".TiF"])).map(lambda n: ("".join(n), FILES["JPEG"], True)),
    st.tuples(names, st.sampled_from(("", ".happy", ".0001", ".jpg_large")), st.sampled_from(sorted(FILES))).map(
        lambda n: (n[0].replace(".", "") + n[1], FILES[n[2]], n[2] not in ("PPM", "BMP"))
    ),
    st.tuples(names, st.sampled_from((".txt", ".db", ".heic", ".jp2", ".jpg~", ".jpg.part", ".mov", ""))).map(
        lambda n: (n[0].replace(".", "") + n[1], HEIC if n[1] == ".heic" else WORDS, n[1] == ".heic" and reads_heif())
    ),
    st.sampled_from(("Thumbs.db", ".DS_Store", "._a.jpg", "desktop.ini", "labels.csv")).map(
        lambda n: (n, WORDS, False)
    ),
)
no_ones = st.sampled_from(("@eaDir", "__MACOSX", ".AppleDouble", ".git", "#recycle")).map(
    lambda name: (name, [("thumb.jpg", FILES["JPEG"], False)])
)
trees = st.dictionaries(folders, st.lists(files, max_size=4), max_size=6)


def put(folder: Path, tree: dict, beside: tuple = ()) -> dict[str, bool]:
    """Write the files; path -> whether it should be read."""
    made = {}
    for inner, found in [*tree.items(), *((f"{place}/{name}".strip("/"), found) for place, (name, found) in beside)]:
        for name, content, read in found:
            path = folder / inner / name
            if any(parent.is_file() for parent in path.parents) or path.is_dir():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            made[path.relative_to(folder).as_posix()] = read
    return made


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(trees, st.lists(st.tuples(folders, no_ones), max_size=2).map(tuple))
def test_every_file_is_read_or_counted(tree, beside):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        made = put(folder, tree, beside)
        skipped = SkippedFiles()
        found = [name.replace(os.sep, "/") for name in images_below(folder, skipped)]
        assert sorted(found) == sorted(name for name, read in made.items() if read)
        assert skipped.total == len(made) - len(found)
        assert len(skipped.lines()) == (skipped.total > 0) and "\n" not in "".join(skipped.lines())
        people = {name.split("/")[0] for name in found if "/" in name}
        if len({name.casefold() for name in people}) < 2:
            return
        source = open_source(place)
        keys = [source.key(index) for index in range(len(source))]
        assert sorted(keys) == sorted(name for name in found if "/" in name)
        assert [source.class_names[label] for label in source.labels] == [key.split("/")[0] for key in keys]
        assert len(source) + source.skipped_files.total + ("labels.csv" in made) == len(made)


FORMS = {"0.jpg": "JPEG", "1.jfif": "JPEG", "2.tif": "TIFF", "3.gif": "GIF", "4.avif": "AVIF"}


@pytest.fixture
def faces(tmp_path) -> Path:
    """Four people, one of them in a sub-folder alone, five loose pictures, and what systems leave behind."""
    folder = tmp_path / "faces"
    for number, inner in enumerate(("p0", "p0/young", "p1", "p2", "p2/old/dark", "p3/young", "", "p1/@eaDir")):
        (folder / inner).mkdir(parents=True, exist_ok=True)
        for name, form in FORMS.items():
            (folder / inner / name).write_bytes(encoded(picture(number, 16, 16), form))
    (folder / "Thumbs.db").write_bytes(WORDS)
    return folder


SAID = "skipped: 11 files (5 outside any identity folder, 5 in @eaDir, 1 .db)"


def test_a_person_is_everything_in_the_folder(faces):
    source = open_source(str(faces))
    assert source.class_names == ["p0", "p1", "p2", "p3"]
    assert [int((source.labels == person).sum()) for person in range(4)] == [10, 5, 10, 5]
    assert source.key(5) == "p0/young/0.jpg" and source[5].label == 0
    assert source.description.endswith(", 15 of the images in subfolders")
    assert source.skipped_files.lines() == [SAID]
    assert {decode(source[index].image, "x").shape for index in range(len(source))} == {(16, 16, 3)}
    assert open_source(str(faces), max_identities=2).skipped_files.lines() == [SAID]
    assert ImageFiles(faces).skipped_files.lines() == ["skipped: 6 files (5 in @eaDir, 1 .db)"]
    assert len(ImageFiles(faces)) == 35


def test_the_doctor_reports_missed_images(faces):
    found = selection(open_source(str(faces)))
    assert found.severity is Severity.WARNING and SAID in found.what and "30 images" in found.what
    for name in FORMS:
        (faces / name).unlink()
    assert selection(open_source(str(faces))).severity is Severity.NOTE
    assert selection(open_source("synthetic:identities=3")).severity is Severity.OK


def test_the_splits_of_a_set_are_not_people(tmp_path):
    for part in ("train", "test"):
        put(tmp_path / part, {"anna": [("0.png", FILES["PNG"], True)], "bert": [("0.png", FILES["PNG"], True)]})
    for names in ({}, {"train": "Train"}, {"test": "Testing"}, {"Train": "training", "Testing": "extra"}):
        for old, new in names.items():
            (tmp_path / old).rename(tmp_path / new)
        train = next(path.name for path in tmp_path.iterdir() if path.name.lower().startswith("train"))
        with pytest.raises(InputError, match=rf"holds the parts .* a dataset, not identities; name one .*/{train}$"):
            open_source(str(tmp_path))
    (tmp_path / "training").rename(tmp_path / "train")
    (tmp_path / "extra").rename(tmp_path / "test")
    assert open_source(str(tmp_path / "train")).num_classes == 2
    put(tmp_path, {"notes/x": [("0.png", FILES["PNG"], True)], "": [("loose.png", FILES["PNG"], True)]})
    parts = open_parts(str(tmp_path))
    assert set(parts) == {"train", "test"} and parts["train"].class_names == ["anna", "bert"]
    assert parts["train"].skipped_files.lines() == [
        "skipped: 2 files (1 outside any part folder, 1 in notes, not a part of the dataset)"
    ]


def test_a_folder_around_the_set_names_the_set(tmp_path):
    put(tmp_path / "lfw", {"anna": [("0.png", FILES["PNG"], True)], "bert": [("0.png", FILES["PNG"], True)]})
    with pytest.raises(
        InputError, match=r"every image in a subfolder of its identity's folder: 1 .*; are these people\? .*lfw$"
    ):
        open_source(str(tmp_path))


def test_links_back_into_the_set_are_followed_once(tmp_path):
    folder, elsewhere = tmp_path / "set", tmp_path / "elsewhere"
    made = put(folder, {"p0": [("0.png", FILES["PNG"], True)], "p1/a": [("0.png", FILES["PNG"], True)]})
    put(elsewhere, {"": [("0.png", FILES["PNG"], True)]})
    for link, target in (("p0/back", folder), ("p0/other", folder / "p1"), ("p1/in", elsewhere), ("loop", folder)):
        (folder / link).symlink_to(target)
    (elsewhere / "round").symlink_to(elsewhere)
    source = open_source(str(folder))
    assert [source.key(index) for index in range(3)] == ["p0/0.png", "p1/a/0.png", "p1/in/0.png"]
    assert len(source) == len(made) + 1
    assert source.skipped_files.others["link to a folder in the dataset, or a system folder"] == 4


def test_broken_links_and_pipes_are_not_images(tmp_path):
    put(tmp_path, {"p0": [("0.png", FILES["PNG"], True)]})
    (tmp_path / "p0" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "p0" / "self.jpg").symlink_to("self.jpg")
    os.mkfifo(tmp_path / "p0" / "pipe.jpg")
    images = ImageFiles(tmp_path)
    assert len(images) == 1
    assert images.skipped_files.lines() == ["skipped: 3 files (2 broken link, 1 pipe or device)"]


DAMAGED = {"cut.jpg": FILES["JPEG"][:200], "empty.png": b"", "words.gif": WORDS}


def test_what_cannot_be_read_is_named_and_the_rest_is_used(faces, tmp_path, capsys):
    for name, content in DAMAGED.items():
        (faces / "p1" / name).write_bytes(content)
    (faces / "p2" / os.fsdecode(b"caf\xe9.png")).write_bytes(FILES["PNG"])
    model = ("--backbone=builtin", "--image_size=28", "--batch_size=16")
    files = sum(len(names) for _, _, names in os.walk(faces))
    assert call(embed, *model, f"--images={faces}", f"--out={tmp_path / 'a.npz'}") == 0
    out = capsys.readouterr().out
    with np.load(tmp_path / "a.npz") as written:
        rows = dict(written)
    assert len(rows["paths"]) == len(rows["embeddings"]) == 36 and not set(DAMAGED) & {
        Path(path).name for path in rows["paths"].tolist()
    }
    assert "36 embeddings" in out and "unreadable: 3 images, skipped" in out
    assert all(f"/p1/{name}: cannot decode the image" in out for name in DAMAGED)
    assert 36 + 3 + ImageFiles(faces).skipped_files.total == files
    probes = put(tmp_path / "probes", {"p0": [("0.png", FILES["PNG"], True), ("1.png", WORDS, False)]})
    words = (f"--gallery={faces}", f"--probes={tmp_path / 'probes'}", "--threshold=1")
    assert probes and call(evaluate, *model, *words) == 0
    out = capsys.readouterr().out
    assert "unreadable: 4 images, skipped" in out and "1 not searched" in out
    assert call(clean, faces, *model, f"--out={tmp_path / 'c.csv'}", "--threshold=1") == 0
    with open(tmp_path / "c.csv", newline="", encoding="utf-8", errors="surrogateescape") as file:
        unread = [row["image"] for row in csv.DictReader(file) if row["kind"] == "unreadable"]
    assert unread == [f"p1/{name}" for name in DAMAGED]
    assert "unreadable: 3 images" in capsys.readouterr().out
    assert call(pairs, faces, f"--out={tmp_path / 'pairs.csv'}", "--people=2", "--pairs=4") == 0
    assert "1 whose names no list can hold" in capsys.readouterr().out


def test_packed_sets_report_the_files_next_to_them(faces):
    write_records(faces, identity_payloads({0.0: [b"a", b"b"], 1.0: [b"c"]}))
    said = "skipped: 41 files (35 in separate files next to the records, 5 in @eaDir, 1 .db)"
    for path in (faces, faces / "train.rec"):
        assert open_source(str(path)).skipped_files.lines() == [said]
    packed = faces.parent / "packed"
    assert call(pack, faces, packed) == 0
    put(packed, {"more": [("0.png", FILES["PNG"], False)]})
    beside = "in separate files next to the records"
    assert open_source(str(packed)).skipped_files.lines() == [f"skipped: 1 file (1 {beside})"]
    hub = faces.parent / "hub"
    table = pa.table({"image": pa.array([FILES["PNG"]] * 20, pa.binary()), "label": [0, 1] * 10})
    put(hub, {"data": [("0.png", FILES["PNG"], False), ("README.md", WORDS, False)]})
    for name in ("train-00000-of-00001.parquet", "val.parquet", "extra.parquet"):
        parquet.write_table(table, hub / "data" / name)
    parts = open_parts(str(hub))
    assert parts["train"].skipped_files.lines() == [f"skipped: 3 files (1 {beside}, 1 .md, 1 .parquet)"]
    assert not parts["validation"].skipped_files.total


def test_a_crop_keeps_its_name_and_its_colors():
    for suffix in (*SUFFIXES, ".jpg_large", ""):
        found = decode(as_crop(RGB, suffix), suffix)
        lossy = suffix in (".jpg", ".jpeg", ".jpe", ".jfif", ".jif")
        assert abs(found.astype(int) - RGB).max() <= (60 if lossy else 0)


@pytest.mark.skipif(reads_heif(), reason="the extra `heic` is installed")
def test_heic_without_its_extra_is_named(tmp_path):
    put(tmp_path, {"p0": [("0.png", FILES["PNG"], True), ("1.heic", HEIC, False), ("2.HEIC", FILES["JPEG"], True)]})
    images = ImageFiles(tmp_path)
    assert len(images) == 2
    (line,) = images.skipped_files.lines()
    assert "1 HEIC (to read them: pip install 'adaptface_jax[heic]')" in line
    assert images.skipped_files.images.total() == 1
    with pytest.raises(InputError, match=r"^x: is a HEIC image; run pip install 'adaptface_jax\[heic\]'"):
        decode(HEIC, "x")


def test_the_commands_report_it(faces, tmp_path, capsys):
    def said(module, *words) -> str:
        assert call(module, *words) == 0
        return capsys.readouterr().out

    model = ("--backbone=builtin", "--image_size=28")
    out = said(embed, *model, f"--images={faces}", f"--out={tmp_path / 'a.npz'}")
    assert out.splitlines()[-1] == "skipped: 6 files (5 in @eaDir, 1 .db)"
    probes = put(tmp_path / "probes", {"p0": [("0.png", FILES["PNG"], True)]})
    assert probes and SAID in said(evaluate, *model, f"--gallery={faces}", f"--probes={tmp_path / 'probes'}")
    assert said(pack, faces, tmp_path / "packed").splitlines()[-1] == SAID
    out = said(pairs, faces, f"--out={tmp_path / 'pairs.csv'}", "--people=2", "--pairs=4")
    assert out.splitlines()[-1] == SAID
    config = write_config(tmp_path / "small.py", {"train.batch_size": 8})
    out = said(train, f"--config={config}", f"--config.data.train={faces}", f"--workdir={tmp_path}", "--dry_run")
    assert f"30 images, 4 identities (5 to 10 images each)\n          {SAID}\n" in out


def test_other_kinds_are_summed_up():
    skipped = SkippedFiles()
    for number in range(12):
        skipped.others[f".e{number}"] += 1
    skipped.images[".jp2"] += 2000
    (line,) = skipped.lines()
    assert line.startswith("skipped: 2,012 files (2,000 .jp2, 1 .e0, ") and line.endswith("5 of other kinds)")
    assert dataclasses.replace(skipped).total == 2012
