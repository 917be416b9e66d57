# SPDX-License-Identifier: Apache-2.0
"""Sets named by a list, and records not called train: read correctly, or refused with the format to use."""

from __future__ import annotations

import csv
import io
import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.sources.from_path import open_source

from .packing import encoded, header, picture, write_records

PNG = encoded(picture(0, 8, 8))


def put(folder: Path, *paths: str) -> None:
    for path in paths:
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(PNG)


def content(source) -> list[tuple[str, str]]:
    """(key, what the class is called) of every record."""
    return [(source.key(index), source.class_names[source.labels[index]]) for index in range(len(source))]


# --- lists ----------------------------------------------------------------------------------------------------------

folders = st.sampled_from(("", "images", "anna", "mid dle/deep", "café"))
files = st.sampled_from(("0.png", "00000001.jpg", "a b.png", "3.jpg", "x,y.png"))
paths = st.tuples(folders, files).map(lambda path: "/".join(filter(None, path)))
labels = st.one_of(st.integers(0, 20).map(str), st.sampled_from(("anna", "Bert B", "café", "1_2", "007", "Nan")))
rows = st.dictionaries(paths, labels, min_size=2, max_size=8).filter(lambda found: len(set(found.values())) > 1)


def written(found: dict[str, str], dialect: str, draw) -> tuple[str, str]:
    """The list's ending and its text."""
    listed = list(found.items())
    if draw(st.booleans()):
        listed.append(listed[0])  # a duplicate line
    if draw(st.booleans()):
        listed = [(path.replace("/", "\\"), label) for path, label in listed]
    if draw(st.booleans()):
        listed = [(unicodedata.normalize("NFD", path), label) for path, label in listed]
    end = draw(st.sampled_from(("\n", "\r\n")))
    start = draw(st.sampled_from(("", "\ufeff", end)))
    if dialect == "lst":
        lines = [f"{number}\t{float(label):.6f}\t{path}" for number, (path, label) in enumerate(listed)]
        return ".lst", start + end.join(lines)
    if dialect == "tabs":
        return ".txt", start + end.join(f"{path}\t{label}" for path, label in listed) + end
    if dialect == "spaces":
        return ".txt", start + end.join(f"{path} {label}" for path, label in listed) + end
    text = io.StringIO(newline="")
    columns = draw(st.sampled_from((("path", "label"), ("label", "path"), ("", "image", "age", "Identity"), ())))
    writer = csv.writer(text, delimiter=draw(st.sampled_from(",;\t")), lineterminator=end)
    if columns:
        writer.writerow(columns)
    for number, (path, label) in enumerate(listed):
        known = {"path": path, "image": path, "label": label, "Identity": label, "": number, "age": 30}
        writer.writerow([known[column] for column in columns] or [path, label])
    return ".csv", start + text.getvalue()


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(rows, st.sampled_from(("lst", "tabs", "spaces", "csv")), st.data())
def test_a_list_is_read_in_whatever_dialect(found, dialect, data):
    if dialect != "csv":
        found = {path: label for path, label in found.items() if "," not in path}
    if dialect in ("lst", "spaces"):
        found = {path: str(number % 2) for number, path in enumerate(found)}
    if dialect == "spaces":  # if the first word is a number, the last one is not a label
        found = {path: label for path, label in found.items() if not path[0].isdigit()}
    if len(set(found.values())) < 2:
        return
    with tempfile.TemporaryDirectory() as place:
        put(Path(place), *found, "images/unlisted.png")
        ending, text = written(found, dialect, data.draw)
        (Path(place) / f"list{ending}").write_text(text, encoding="utf-8", newline="")
        source = open_source(f"{place}/list{ending}")
        assert content(source) == list(found.items())
        names = sorted(set(found.values()))
        if all(label.isdecimal() for label in names):
            names.sort(key=int)
        assert list(source.class_names) == names
        assert source.skipped_files.lines() == ["skipped: 1 file (1 that the list does not name)"]
        assert source[0].image == PNG and source[0].label == source.labels[0]


def test_the_lists_of_a_set_are_in_it_and_next_to_its_images(tmp_path):
    put(tmp_path / "set", *(f"images/{number:08d}.jpg" for number in range(9)))
    put(tmp_path / "celeba", *(f"img_align_celeba/{number:06d}.jpg" for number in range(3)))
    texts = {
        "set/label.txt": "".join(f"images/{number:08d}.jpg\t{number // 3}\n" for number in range(9)),
        "set/train.lst": "".join(f"{number}\t{number // 3}\timages/{number:08d}.jpg\n" for number in range(9)),
        "set/lists/short.csv": "file,label\n00000000.jpg,7\n00000001.jpg,9\n",
        "celeba/Anno/identity_CelebA.txt": "000000.jpg 2880\n000001.jpg 2937\n000002.jpg 2880\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    for name in ("set/label.txt", "set/train.lst"):
        source = open_source(str(tmp_path / name))
        assert len(source) == 9 and source.num_classes == 3 and source.description == f"list {tmp_path / name}"
    assert content(open_source(str(tmp_path / "celeba" / "Anno" / "identity_CelebA.txt"))) == [
        ("000000.jpg", "2880"), ("000001.jpg", "2937"), ("000002.jpg", "2880"),
    ]  # fmt: skip
    short = open_source(str(tmp_path / "set" / "lists" / "short.csv"))
    assert content(short) == [("00000000.jpg", "7"), ("00000001.jpg", "9")]
    with pytest.raises(
        InputError, match=r"1 identity; training needs at least 2; label\.txt may list its images: .*label\.txt$"
    ):
        open_source(str(tmp_path / "set"))


def test_insightfaces_own_list_and_utf16_are_read(tmp_path):
    put(tmp_path, *(f"p{number // 2}/{number}.jpg" for number in range(4)))
    rows = [(f"p{number // 2}/{number}.jpg", number // 2) for number in range(4)]
    texts = {
        "aligned.lst": "".join(f"1\t/data/ms1m/{path}\t{label}\n" for path, label in rows),
        "boxes.lst": "".join(f"0\t{path}\t{label}\t1.5\t2\t30\t40\n" for path, label in rows),
        "numbered.csv": "".join(f"{place},{path},{label}\n" for place, (path, label) in enumerate(rows)),
        "names.csv": "Img_Name;Age;Person ID\n" + "".join(f"{path};3;{label}\n" for path, label in rows),
        "stems.txt": "".join(f"{path[:-4]} {label}\n" for path, label in rows),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-16" if name == "names.csv" else "utf-8")
        source = open_source(str(tmp_path / name))
        assert content(source) == [(path, str(label)) for path, label in rows]
        assert ("paths without /data/ms1m/" in source.description) == (name == "aligned.lst")


@pytest.mark.parametrize(
    ("header", "row", "labels", "unread"),
    [
        ("id,image,name", "{0},{1},n{2}", ["n0", "n1"], "column id"),
        ("id,image,name", "{2},{1},Bo", ["0", "1"], "column name"),
        ("path,label,split,age", "{1},{2},test,30", ["0", "1"], "columns split, age"),
        ("id,image", "{0},{1}", ["0", "1", "2", "3"], ""),
    ],
)
def test_the_column_of_people_is_chosen_and_the_others_named(tmp_path, header, row, labels, unread):
    put(tmp_path, *(f"{number}.jpg" for number in range(4)))
    lines = [row.format(number, f"{number}.jpg", number // 2) for number in range(4)]
    (tmp_path / "list.csv").write_text("\n".join([header, *lines]))
    source = open_source(str(tmp_path / "list.csv"))
    assert list(source.class_names) == labels
    assert source.description.endswith(f"list.csv, without its {unread}" if unread else "list.csv")


def test_a_page_is_no_list(tmp_path):
    for text, reason in (("<html>Sign in", "is a web page"), ("version https://git-lfs.g", "is the git-LFS pointer")):
        (tmp_path / "label.txt").write_text(text)
        with pytest.raises(InputError, match=rf"label\.txt: {reason}"):
            open_source(str(tmp_path / "label.txt"))


def test_the_home_folder_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    put(tmp_path / "faces", "a/0.jpg", "b/0.jpg")
    assert open_source("~/faces").num_classes == 2


BAD = {
    "nothing": ("", "lists no image"),
    "a header alone": ("path,label\n", "lists no image"),
    "one column": ("0.png\n1.png\n", "is not a line of a training list"),
    "five unknown columns": ("a,b,c,d,e\n", "is not a line of a training list"),
    "two labels": ("0\t1\t2\t0.png\n", "has 2 labels; expected one label per image"),
    "two labels of one image": ("0.png 1\n0.png 2\n", "line 2, '0.png 2': has the label 2, and 1 on an earlier line"),
    "a label below 0": ("0.png,-1\n", "has the label -1; expected a non-negative integer, or a name"),
    "half a label": ("0.png,1.5\n", "has the label 1.5"),
    "no label": ("path,label\n0.png,\n", "has no label"),
    "no path": ("path,label\n,3\n", "names no image"),
    "a ragged row": ("0.png,1\n1.png,2,3\n", "line 2, .*has 3 columns, the lines before it have 2"),
    "missing images": ("0.png,1\n2.png,2\n3.png,1\n", r"2 of 3 images are missing, e\.g\. .*2\.png"),
    "a NUL": ("0.png,a\0b\n", "contains a NUL"),
    "no text": (b"0.png,\xfc\n", "is not UTF-8 text; .*, saved as UTF-8"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_a_list_gives_one_line(tmp_path, name):
    text, reason = BAD[name]
    put(tmp_path, "0.png", "1.png")
    (tmp_path / "list.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=reason) as caught:
        open_source(str(tmp_path / "list.csv"))
    assert "\n" not in str(caught.value) and "list.csv" in str(caught.value)


# --- records --------------------------------------------------------------------------------------------------------


def im2rec(folder: Path, name: str, classes: int = 4) -> Path:
    """What im2rec writes from a list: flat records from key 0, and no property."""
    write_records(folder, [(key, header(float(key // 6), key) + PNG) for key in range(6 * classes)])
    for ending in (".rec", ".idx"):
        (folder / f"train{ending}").rename(folder / f"{name}{ending}")
    (folder / "property").unlink()
    return folder


@pytest.mark.parametrize("name", ["train", "faces"])
def test_records_may_have_another_name_and_no_property(tmp_path, name):
    place = im2rec(tmp_path / "im2rec", name)
    for path in (place, place / f"{name}.rec"):
        source = open_source(str(path))
        assert (len(source), source.num_classes) == (24, 4) and source.labels.tolist() == sorted(list(range(4)) * 6)
    assert ("faces.rec" in source.description) == (name == "faces")


def test_one_of_several_records_must_be_named(tmp_path):
    place = im2rec(im2rec(tmp_path / "two", "old"), "new", classes=2)
    with pytest.raises(InputError, match=r"holds 2 record files, new, old; name one, e.g. data\.train=.*new\.rec$"):
        open_source(str(place))
    assert open_source(str(place / "old.rec")).num_classes == 4


# --- unsupported formats name the one to use -------------------------------------------------------------------------

UNREAD = {
    "lfw.bin": r"a \.bin pack is a benchmark: --benchmark NAME=.*lfw\.bin$",
    "faces.zip": "unpack it, and name its folder$",
    "faces.tfrecord": "tfds build --file_format=array_record$",
    "data.mdb": "write its images into one folder per identity$",
    "train.parquet": "adaptface classify",
    "anna.jpg": "name the folder that holds the identity folders$",
    "faces.xyz": "expected a folder with a .rec, shards or identity folders, a list of images and labels, or tfds:NAME",
}


def test_a_set_one_level_down_is_named(tmp_path):
    im2rec(tmp_path / "up" / "faces", "train")
    with pytest.raises(InputError, match=r"its faces/ holds train\.rec: data\.train=.*/up/faces$"):
        open_source(str(tmp_path / "up"))
    put(tmp_path / "set", *(f"img/{number}.jpg" for number in range(4)))
    (tmp_path / "set" / "labels.csv").write_text("file,name\n0.jpg,a\n1.jpg,b\n2.jpg,a\n3.jpg,b\n")
    with pytest.raises(InputError, match=r"labels\.csv may list its images: data\.train=.*/set/labels\.csv$"):
        open_source(str(tmp_path / "set"))
    source = open_source(str(tmp_path / "set" / "labels.csv"))
    assert source.labels.tolist() == [0, 1, 0, 1] and source.description.endswith("labels.csv, its images in img/")


@pytest.mark.parametrize("name", UNREAD)
def test_an_unsupported_format_names_a_supported_one(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=UNREAD[name]) as caught:
        open_source(str(tmp_path / name))
    assert "\n" not in str(caught.value)
    if name in ("data.mdb", "faces.zip"):
        with pytest.raises(InputError, match=f"no identities found; .*; it holds .* files: .*{UNREAD[name]}"):
            open_source(str(tmp_path))
