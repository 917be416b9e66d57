# SPDX-License-Identifier: Apache-2.0
"""Lists of pairs as found in practice: the same pairs in any form are one benchmark, and refusals are named."""

from __future__ import annotations

import csv
import io
import re
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.benchmarks.from_path import open_benchmark

PEOPLE = ("Ann_Lee", "Bo Kim", "Ch\u00e9 N\u00fa\u00f1ez", "m.0abc", "007")
NUMBERS = (1, 2, 3)


def image(person: str, number: int) -> str:
    return f"{person}/{person}_{number:04d}.jpg"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Five people with three images each; a Mac's decomposed accents."""
    root = tmp_path_factory.mktemp("people")
    for person in PEOPLE:
        name = unicodedata.normalize("NFD", person)
        (root / name).mkdir()
        for number in NUMBERS:
            (root / image(name, number)).write_bytes(b"")
    return root


IMAGES = st.tuples(st.sampled_from(PEOPLE), st.sampled_from(NUMBERS))
PAIRS = st.lists(st.tuples(IMAGES, IMAGES), min_size=2, max_size=12).filter(
    lambda pairs: len({first[0] == second[0] for first, second in pairs}) == 2
)
SPELLINGS = [
    ("1", "0"),
    ("1", "-1"),
    ("1.0", "0.0"),
    ("True", "False"),
    ("yes", "no"),
    ("Y", "N"),
    ("same", "different"),
    ("Positive", "Negative"),
    ("genuine", "imposter"),
    ("match", "non-match"),
]
HEADERS = [
    "",
    "path1,path2,same",
    "file_x,file_y,Decision",
    "image1,image2,label",
    "first,second,third",
    "Image_Path_1,image path 2,is_match",
    "first,second,same",
]


@st.composite
def dialects(draw) -> tuple[list, bytes, str]:
    """Pairs, a list of them in some form, and its name."""
    pairs = draw(PAIRS)
    form = draw(st.sampled_from(["table", "pandas", "label first", "two lines", "lfw", "kaggle", "lfw names"]))
    same, different = draw(st.sampled_from(SPELLINGS))
    separator = draw(st.sampled_from(",;\t"))
    truth = [same if first[0] == second[0] else different for first, second in pairs]
    paths = [(image(*first), image(*second)) for first, second in pairs]
    header = draw(st.sampled_from(HEADERS)).split(",")
    rows = [header] if header != [""] else []
    if form == "table":
        rows += [[*both, label] for both, label in zip(paths, truth, strict=True)]
    elif form == "pandas":
        rows = [["", "path1", "path2", "same"]]
        rows += [[str(n), *both, label] for n, (both, label) in enumerate(zip(paths, truth, strict=True))]
    elif form == "label first":
        rows = [[label, *both] for both, label in zip(paths, truth, strict=True)]
    elif form == "two lines":
        rows = [["name", "same_person"]] if draw(st.booleans()) else []
        rows += [[path, label] for both, label in zip(paths, truth, strict=True) for path in both]
    else:
        rows = {"kaggle": [["name", "imagenum1", "imagenum2", ""]], "lfw names": [["name", "nr", "name2", "nr2"]]}.get(
            form, []
        )
        end = [""] if form == "kaggle" else []
        for (person, i), (other, j) in pairs:
            rows.append([person, str(i), str(j), *end] if person == other else [person, str(i), other, str(j)])
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator=draw(st.sampled_from(["\n", "\r\n"]))).writerows(rows)
    content = text.getvalue()
    if draw(st.booleans()):
        content = content.replace("/", "\\")
    content = unicodedata.normalize(draw(st.sampled_from(["NFC", "NFD"])), content)
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    return pairs, content.encode(encoding), "list" + draw(st.sampled_from([".csv", ".txt", ".tsv"]))


@settings(max_examples=80, deadline=None)
@given(dialects())
def test_every_dialect_is_read_right(folder, dialect):
    pairs, content, name = dialect
    file = folder.parent / name
    file.write_bytes(content)
    found = open_benchmark(f"{folder}:{file}")
    keys = [unicodedata.normalize("NFC", found.keys[place]) for place in found.index]
    assert list(zip(keys[::2], keys[1::2], strict=True)) == [(image(*first), image(*second)) for first, second in pairs]
    assert found.issame.tolist() == [first[0] == second[0] for first, second in pairs]
    assert len(set(found.keys)) == len(found.images) == len({one for pair in pairs for one in pair})
    assert all(Path(path).is_file() for path in found.images.paths)


SPACES = {
    "spaces": "Bo Kim/Bo Kim_0001.jpg Bo Kim/Bo Kim_0002.jpg 1\nBo Kim/Bo Kim_0001.jpg 007/007_0001.jpg 0\n",
    "quotes": '"Bo Kim/Bo Kim_0001.jpg" "Bo Kim/Bo Kim_0002.jpg" 1\n"Bo Kim/Bo Kim_0001.jpg" 007/007_0001.jpg 0\n',
    "two lines": ("Bo Kim/Bo Kim_0001.jpg 1\nBo Kim/Bo Kim_0002.jpg 1\nBo Kim/Bo Kim_0001.jpg 0\n007/007_0001.jpg 0\n"),
    "label first": '1 "Bo Kim/Bo Kim_0001.jpg" "Bo Kim/Bo Kim_0002.jpg"\n0 "Bo Kim/Bo Kim_0001.jpg" 007/007_0001.jpg\n',
}


@pytest.mark.parametrize("form", SPACES)
def test_paths_with_spaces_between_spaces(folder, form):
    (folder / "spaces.txt").write_text(SPACES[form])
    found = open_benchmark(f"{folder}:spaces.txt")
    assert found.keys == ["Bo Kim/Bo Kim_0001.jpg", "Bo Kim/Bo Kim_0002.jpg", "007/007_0001.jpg"]
    assert found.index.tolist() == [0, 1, 0, 2] and found.issame.tolist() == [True, False]


def test_other_columns_are_left_out_and_named(folder):
    one, two = "Ann_Lee/Ann_Lee_0001.jpg,Ann_Lee/Ann_Lee_0002.jpg", "Ann_Lee/Ann_Lee_0001.jpg,007/007_0001.jpg"
    text = f"id,path1,path2,same,fold,similarity,\n7,{one},1,1,0.9,\n8,{two},0,2,0.1,\n"
    (folder / "more.csv").write_text(text)
    found = open_benchmark(f"{folder}:more.csv")
    assert found.issame.tolist() == [True, False] and found.fold.tolist() == [1, 2]
    assert found.description.endswith("more.csv, without its columns id, similarity")


def test_labels_that_contradict_every_folder_are_said(folder):
    rows = "Ann_Lee/Ann_Lee_0001.jpg,Ann_Lee/Ann_Lee_0002.jpg,{}\nAnn_Lee/Ann_Lee_0001.jpg,007/007_0001.jpg,{}\n"
    for labels, said in (((1, 0), False), ((0, 1), True)):
        (folder / "truth.csv").write_text(rows.format(*labels))
        assert ("are its labels inverted?" in open_benchmark(f"{folder}:truth.csv").description) == said


ELSEWHERE = {
    "case": ("ann_LEE/ann_lee_0001.JPG", "Bo Kim/Bo Kim_0002.jpg", ""),
    "another ending": (
        "Ann_Lee/Ann_Lee_0001.png",
        "Bo Kim/Bo Kim_0002.bmp",
        r"2 images with another ending .*\.jpg for",
    ),
    "no ending": ("Ann_Lee/Ann_Lee_0001", "007/007_0002", ""),
    "the folder itself": ("people/Ann_Lee/Ann_Lee_0001.jpg", "people/007/007_0002.jpg", "paths without people/"),
    "another machine": ("/data/x/Ann_Lee/Ann_Lee_0001.jpg", "/data/x/007/007_0002.jpg", "paths without /data/x/"),
    "Windows": (r"D:\x\Ann_Lee\Ann_Lee_0001.jpg", r"D:\x\007\007_0002.jpg", "paths without D:/x/"),
}


@pytest.mark.parametrize("case", ELSEWHERE)
def test_lists_written_for_other_files_find_these(folder, case):
    first, second, said = ELSEWHERE[case]
    (folder / "other.csv").write_text(f"path1,path2,same\n{first},{first},1\n{first},{second},0\n")
    found = open_benchmark(f"{folder}:other.csv")
    names = [Path(second.replace("\\", "/")).stem.removesuffix("_0002"), "Ann_Lee_0001.jpg"]
    assert [Path(path).name for path in found.images.paths] == [names[1], f"{names[0]}_0002.jpg"]
    assert re.search(said, found.description) and (said or found.description.endswith("other.csv"))


def test_images_in_a_folder_of_the_lists_folder_are_found_if_only_one_has_them(folder, tmp_path):
    text = "path1,path2,same\nAnn_Lee/Ann_Lee_0001.jpg,007/007_0001.jpg,0\n007/007_0001.jpg,007/007_0002.jpg,1\n"
    shutil.copytree(folder, tmp_path / "lfw" / "lfw")
    for name, content in (("pairs.csv", text), ("pairs.txt", "Ann_Lee\t1\t2\nAnn_Lee\t1\t007\t1\n")):
        (tmp_path / name).write_text(content)
        found = open_benchmark(f"{tmp_path}:{name}")
        assert ", its images in lfw/lfw/" in found.description and found.keys[0] == "lfw/lfw/Ann_Lee/Ann_Lee_0001.jpg"
        assert found.person is not None
    shutil.copytree(folder, tmp_path / "lfw" / "again")
    advice = (
        r"3 of 3 images are missing, .*; they are in lfw/again/ and lfw/lfw/: name one, .*/lfw/again:.*/pairs\.csv$"
    )
    with pytest.raises(InputError, match=advice):
        open_benchmark(f"{tmp_path}:pairs.csv")


def test_the_only_list_called_pairs_is_the_folders(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "images")
    (tmp_path / "readme.txt").write_text("No list.")
    rows = "Ann_Lee/Ann_Lee_0001.jpg 1\nAnn_Lee/Ann_Lee_0002.jpg 1\n007/007_0001.jpg 0\nm.0abc/m.0abc_0001.jpg 0\n"
    (tmp_path / "pairs_CALFW.txt").write_text(rows)
    found = open_benchmark(str(tmp_path))
    assert found.issame.tolist() == [True, False] and found.description.endswith("its images in images/")
    (tmp_path / "other_pair_list.csv").write_text(rows)
    with pytest.raises(InputError, match=r"holds 2 pair lists, other_pair_list\.csv, pairs_CALFW\.txt; choose one"):
        open_benchmark(str(tmp_path))


@pytest.mark.parametrize("form", ["{0}_{1:04d}.jpg", "{0}/{0}_{1}.png", "{0}/{1:04d}.JPG", "{0}/{1}.jpg"])
def test_files_of_lfws_people_may_be_called_otherwise(tmp_path, form):
    for person in ("Bo", "m.0abc"):
        for number in NUMBERS:
            file = tmp_path / form.format(person, number)
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(b"")
    (tmp_path / "pairs.txt").write_text("1\t1\nBo\t1\t3\nBo\t2\tm.0abc\t1\n")
    expected = [("Bo", 1), ("Bo", 3), ("Bo", 2), ("m.0abc", 1)]
    assert open_benchmark(str(tmp_path)).keys == [form.format(*one) for one in expected]


def test_what_several_files_match_is_missing(tmp_path):
    for name in ("a.jpg", "a.PNG", "b.jpg", "B.JPG", "c.jpg"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "pairs.csv").write_text("a.bmp,c.jpg,1\nb.Jpg,c.jpg,0\na.png,c.jpg,0\n")
    with pytest.raises(InputError, match=r"2 of 4 images are missing, e\.g\. .*a\.bmp, .*b\.Jpg"):
        open_benchmark(str(tmp_path))


def test_a_benchmark_further_in_is_named(tmp_path):
    (tmp_path / "data" / "cfp" / "Protocol").mkdir(parents=True)
    with pytest.raises(InputError, match=r"holds no pair list, but .*/data/cfp does; expected"):
        open_benchmark(str(tmp_path))
    for name in ("a/1.jpg", "b/1.jpg"):
        (tmp_path / "people" / name).parent.mkdir(parents=True)
        (tmp_path / "people" / name).write_bytes(b"")
    with pytest.raises(InputError, match="but 2 folders of images: `adaptface pairs` draws pairs of people; expected"):
        open_benchmark(str(tmp_path / "people"))
    (tmp_path / "lfw.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match="is an archive: unpack it, and name what is inside; expected"):
        open_benchmark(str(tmp_path / "lfw.zip"))
    for name in ("agedb_30.bin", "lfw.bin"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=r"but 2 packs: name one, e\.g\. .*/agedb_30\.bin; expected"):
        open_benchmark(str(tmp_path))


LINES = st.lists(st.text(st.sampled_from('ab/.jpg 01-;,\t"\\'), max_size=14), max_size=6)


@settings(max_examples=150, deadline=None)
@given(LINES)
def test_any_other_text_is_refused_in_one_line_that_names_it(folder, texts):
    file = folder.parent / "any.txt"
    file.write_text("\n".join(texts))
    with pytest.raises(InputError) as caught:
        open_benchmark(f"{folder}:{file}")
    assert "any.txt" in str(caught.value) and "\n" not in str(caught.value)


def test_lists_without_counts_have_the_folds_of_their_runs(folder):
    genuine, impostor = "Ann_Lee\t1\t2", "Ann_Lee\t1\tm.0abc\t2"
    for blocks, expected in ((10, np.arange(40) // 4), (1, None), (11, None)):
        (folder / "rfw.txt").write_text("\n".join([genuine, genuine, impostor, impostor] * blocks))
        found = open_benchmark(f"{folder}:rfw.txt")
        np.testing.assert_array_equal(found.fold, expected)
        assert ("10 folds from its runs" in found.description) == (blocks == 10)
    (folder / "rfw.txt").write_text("\n".join([impostor, genuine] * 10))
    assert open_benchmark(f"{folder}:rfw.txt").fold is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ann_Lee/Ann_Lee_0001.jpg 1\nm.0abc/m.0abc_0001.jpg 0\n", "line 2, .* different label from the first half"),
        ("a.jpg 1\nb.jpg 1\nc.jpg 0\n", "line 3, .* is half a pair"),
        ("a.jpg 1\nb.jpg 1\nc.jpg d.jpg 0\n", "line 3, .* is not half a pair"),
        ("x.jpg maybe\n", "line 1, .* is not a row of a pair list"),
        (",path1,path2,same\n0,a.jpg,b.jpg\n", "line 2, .* has 3 columns; expected path1,path2,same"),
        ("path1,path2,distance\n", "column 'same' is missing"),
    ],
)
def test_errors_are_reported_with_their_line(folder, text, words):
    (folder / "wrong.txt").write_text(text)
    with pytest.raises(InputError, match=words):
        open_benchmark(f"{folder}:wrong.txt")


def test_rfws_four_lists_are_one_benchmark_of_groups(tmp_path):
    groups = ("African", "Asian", "Caucasian", "Indian")
    for group in groups:
        for person in ("m.01", "m.02"):  # the same names in each group: different people
            for number in (1, 2):
                file = tmp_path / "data" / group / image(person, number)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(b"")
        (tmp_path / "txts" / group).mkdir(parents=True)
        (tmp_path / "txts" / group / f"{group}_pairs.txt").write_text("m.01\t1\t2\nm.01\t1\tm.02\t1\n" * 10)
    found = open_benchmark(str(tmp_path))
    assert found.pair_names == groups
    np.testing.assert_array_equal(found.pair_domain, np.arange(80) // 20)
    np.testing.assert_array_equal(found.fold, np.arange(80) % 20 // 2)
    assert len(found.images) == 12 and len(set(found.person.tolist())) == 8
    assert all(Path(tmp_path / key).is_file() for key in found.keys)
    one = open_benchmark(f"{tmp_path / 'data' / 'Asian'}:{tmp_path / 'txts' / 'Asian' / 'Asian_pairs.txt'}")
    assert len(one.issame) == 20 and one.pair_domain is None


def test_bcolz_arrays_name_the_format_to_use_instead(tmp_path):
    for name in ("meta/sizes", "meta/storage", "data/__0.blp"):
        (tmp_path / "lfw" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lfw" / name).write_bytes(b"{}")
    for path in (tmp_path, tmp_path / "lfw"):
        with pytest.raises(InputError, match=r"bcolz array, the benchmark format of face\.evoLVe.* use the \.bin pack"):
            open_benchmark(str(path))
