# SPDX-License-Identifier: Apache-2.0
"""Benchmarks in every published format: the same pairs give the same metrics, and errors are named."""

from __future__ import annotations

import numpy as np
import pytest

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.benchmarks.from_path import open_benchmark
from adaptface_jax.data.joined import Joined
from adaptface_jax.evaluation.evaluator import raw_pixels

from .forms import att_forms, face, write_faces


def pairs_of(benchmark) -> list[tuple[str, str]]:
    names = [benchmark.keys[place] for place in benchmark.index]
    return list(zip(names[0::2], names[1::2], strict=True))


def test_pack_folder_and_table_of_the_same_pairs_have_the_same_metrics(shared_data, tmp_path):
    forms = att_forms(shared_data, tmp_path)
    assert all(len(form.images) == 100 for form in forms.values())  # of 1,200: each is embedded once
    np.testing.assert_array_equal(forms["folder"].fold, np.arange(600) // 60)
    figures = raw_pixels(forms)
    assert figures["pack"] == figures["folder"] == figures["table"]
    assert figures["pack"].accuracy == pytest.approx(0.873, abs=0.001)


@pytest.fixture
def lfw(tmp_path):
    write_faces(tmp_path, [f"{name}/{name}_{i:04d}.jpg" for name in ("Ann Lee", "Bo") for i in (1, 2, 12)])
    (tmp_path / "pairs.txt").write_text("2\t1\nBo\t1\t12\nAnn Lee\t2\tBo\t2\n\nAnn Lee\t1\t2\nBo\t1\tAnn Lee\t12\n")
    return tmp_path


def test_lfws_own_form(lfw):
    benchmark = open_benchmark(str(lfw))
    assert pairs_of(benchmark) == [
        ("Bo/Bo_0001.jpg", "Bo/Bo_0012.jpg"),
        ("Ann Lee/Ann Lee_0002.jpg", "Bo/Bo_0002.jpg"),
        ("Ann Lee/Ann Lee_0001.jpg", "Ann Lee/Ann Lee_0002.jpg"),
        ("Bo/Bo_0001.jpg", "Ann Lee/Ann Lee_0012.jpg"),
    ]
    assert benchmark.issame.tolist() == [True, False, True, False]
    assert benchmark.fold.tolist() == [0, 0, 1, 1]
    assert len(benchmark.images) == 6
    assert benchmark.images[0] == (lfw / "Bo" / "Bo_0001.jpg").read_bytes()


def test_files_of_lfw_may_be_png_and_the_list_elsewhere(lfw, tmp_path_factory):
    (lfw / "Bo" / "Bo_0012.jpg").rename(lfw / "Bo" / "Bo_0012.png")
    listed = tmp_path_factory.mktemp("lists") / "one.txt"
    listed.write_text("1\nBo 1 12\nBo 1 Ann_Lee 1\n")
    write_faces(lfw, ["Ann_Lee/Ann_Lee_0001.jpg"])
    benchmark = open_benchmark(f"{lfw}:{listed}")
    assert pairs_of(benchmark)[0] == ("Bo/Bo_0001.jpg", "Bo/Bo_0012.png")
    assert benchmark.fold is None  # one set: contiguous tenths


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("Bo\t1\t12\n", "all 1 pairs are genuine"),
        ("10\t0\n", "line 1, .* is not a row of a pair list"),
        ("1\t1\nBo\t1\t12\n", "holds 1 pair; its header says 1 x 2 x 1"),
        ("1\t1\nBo\t1\t12\nBo\t1\tAnn Lee\t1\nBo\t1\t2\n", "line 4, .* exceeds the 2 pairs"),
        ("1\t1\nBo\t1\tAnn Lee\t1\nBo\t1\t12\n", "line 2, .* is not a genuine pair"),
        ("1\t1\nBo\t1\t12\nBo\t1\t2\n", "line 3, .* is not an impostor pair"),
        ("1\t1\nBo\tone\t12\nBo\t1\tAnn Lee\t1\n", "line 2, .* no image number"),
        ("1\t1\nBo\t1\nBo\t1\tAnn Lee\t1\n", "line 2, .* has 2 words"),
        ("1\t1\nBo\t1\t7\nBo\t1\tCy\t1\n", "2 of 3 images are missing, e.g. .*Bo_0007.jpg, .*Cy_0001.jpg"),
        (b"1\t1\n\xff\xfe\n", "is not UTF-8 text"),
    ],
)
def test_errors_in_pairs_txt_are_reported_with_their_line(lfw, text, words):
    (lfw / "pairs.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=words) as caught:
        open_benchmark(str(lfw))
    assert "pairs.txt" in str(caught.value) and "\n" not in str(caught.value)


@pytest.fixture
def cfp(tmp_path):
    names = {view: [f"Data/Images/{i:03d}/{view}/01.jpg" for i in (1, 2, 3)] for view in ("frontal", "profile")}
    write_faces(tmp_path, names["frontal"] + names["profile"])
    protocol = tmp_path / "Protocol"
    for fold in ("01", "02"):
        (protocol / "Split" / "FP" / fold).mkdir(parents=True)
        (protocol / "Split" / "FP" / fold / "same.txt").write_text("1,1\n2,2\n")
        (protocol / "Split" / "FP" / fold / "diff.txt").write_text(f"1,{int(fold) + 1}\n")
    for side, view in (("F", "frontal"), ("P", "profile")):
        lines = [f"{i} ../{name}\n" for i, name in enumerate(names[view], 1)]
        (protocol / f"Pair_list_{side}.txt").write_text("".join(lines))
    return tmp_path


def test_cfps_own_form(cfp):
    benchmark = open_benchmark(str(cfp))
    frontal, profile = "Data/Images/001/frontal/01.jpg", "Data/Images/{:03d}/profile/01.jpg"
    assert pairs_of(benchmark)[::2] == [(frontal, profile.format(1)), (frontal, profile.format(2)),
                                        (frontal.replace("001", "002"), profile.format(2))]  # fmt: skip
    assert benchmark.issame.tolist() == [True, True, False] * 2
    assert benchmark.fold.tolist() == [0, 0, 0, 1, 1, 1]
    views = [benchmark.domain_names[domain] for domain in benchmark.image_domain.argmax(axis=1)]
    assert views == [key.split("/")[-2] for key in benchmark.keys]
    assert [f"{1 + person:03d}" for person in benchmark.person] == [key.split("/")[2] for key in benchmark.keys]


def test_errors_in_cfp_are_reported(cfp):
    with pytest.raises(InputError, match=r"FF: holds no split"):
        open_benchmark(f"{cfp}:FF")
    diff = cfp / "Protocol" / "Split" / "FP" / "02" / "diff.txt"
    for text, words in (("1;2\n", "line 1, '1;2': is not a pair"), ("1,9\n", "image 9 is in no list")):
        diff.write_text(text)
        with pytest.raises(InputError, match=words):
            open_benchmark(str(cfp))
    diff.unlink()
    with pytest.raises(InputError, match=r"diff\.txt: cannot be read"):
        open_benchmark(str(cfp))
    listed = cfp / "Protocol" / "Pair_list_P.txt"
    for text, words in (("1\n", "is not an image"), ("1 a\n1 b\n", "image 1 is listed twice")):
        listed.write_text(text)
        with pytest.raises(InputError, match=words):
            open_benchmark(str(cfp))


def test_folders_are_people_where_every_pair_agrees(faces):
    """Also for images that no genuine pair joins; not if a folder holds several people, or a person has several
    folders."""
    table = faces / "own.csv"
    pairs = {
        "a/1.png,a/2.png,1\na/1.png,b/1.png,0\n": [0, 0, 1],
        "a/1.png,a/2.png,0\na/1.png,b/1.png,1\n": None,
        'a/1.png,a/2.png,1\na/1.png,b/1.png,0\nb/1.png,"b, c/1.png",1\n': None,
    }
    for text, expected in pairs.items():
        table.write_text(text)
        found = open_benchmark(str(table)).person
        assert (None if found is None else found.tolist()) == expected


@pytest.fixture
def faces(tmp_path):
    write_faces(tmp_path, ["a/1.png", "a/2.png", "b/1.png", "b, c/1.png"])
    return tmp_path


def test_a_table_with_folds_and_domains(faces):
    rows = ["same,path1,path2,domain,fold", "1,a/1.png,a/2.png,pose,7", "0,a/1.png,b/1.png,age,7"]
    rows += ['True,b/1.png,"b, c/1.png",age,3', "false,./a/1.png,b/1.png,,3"]
    (faces / "pairs.csv").write_text("\n".join(rows))
    for path in (str(faces), str(faces / "pairs.csv"), f"{faces}:pairs.csv"):
        benchmark = open_benchmark(path)
        assert benchmark.keys == ["a/1.png", "a/2.png", "b/1.png", "b, c/1.png"]
        assert benchmark.index.tolist() == [0, 1, 0, 2, 2, 3, 0, 2]
        assert benchmark.issame.tolist() == [True, False, True, False]
        assert benchmark.fold.tolist() == [7, 7, 3, 3]
        assert benchmark.pair_names == ("pose", "age")
        assert benchmark.pair_domain.tolist() == [0, 1, 1, -1]
        assert benchmark.image_domain is None  # the frontal half of a pose pair is not turned
        members, names = benchmark.pairs_of_domains()
        assert names == ("pose", "age") and members.tolist() == [[1, 0], [0, 1], [0, 1], [0, 0]]


CONDITIONS = """path1,path2,same,domain1,domain2
a/1.png,a/2.png,1,turned + dark,ordinary
a/1.png,b/1.png,0,,turned
a/2.png,"b, c/1.png",0,ordinary,
b/1.png,a/1.png,0,turned,dark+turned
"""


def test_a_table_with_the_conditions_of_its_images(faces):
    (faces / "pairs.csv").write_text(CONDITIONS)
    benchmark = open_benchmark(str(faces))
    assert benchmark.domain_names == ("turned", "dark", "ordinary")
    assert benchmark.image_domain.dtype == np.uint8
    assert benchmark.image_domain.tolist() == [
        [1, 1, 0],
        [0, 0, 1],
        [1, 0, 0],
        [0, 0, 0],
    ]  # nothing is known of the last
    members, names = benchmark.pairs_of_domains()
    assert names == benchmark.domain_names
    assert members.tolist() == [[1, 1, 1], [1, 1, 0], [0, 0, 1], [1, 1, 0]]  # a pair counts in every domain it touches


LABELS = """path,pose,light
a/1.png,frontal,bad
a/2.png,left,bad
b/1.png,frontal,good
never/paired.png,right,good
"""


def test_labels_next_to_the_list_are_read_by_the_domains_of_the_run(faces):
    (faces / "pairs.csv").write_text("a/1.png,a/2.png,1\na/1.png,b/1.png,0\n")
    (faces / "labels.csv").write_text(LABELS)
    assert open_benchmark(str(faces)).image_domain is None
    for domains, expected in (
        ("light=bad; pose=left|right", [[1, 0], [1, 1], [0, 0]]),
        ("turned:pose=left|right; ordinary", [[0, 1], [1, 0], [0, 1]]),
        ("age=old; sex=f", [[0, 0]] * 3),
    ):
        benchmark = open_benchmark(f"{faces}:pairs.csv", domains)
        assert benchmark.image_domain.tolist() == expected
        known = sum(map(any, expected))
        assert benchmark.description.endswith(f"conditions of {known} of 3 images known")


def test_the_list_takes_precedence_over_labels_in_the_order_of_the_run(faces):
    (faces / "pairs.csv").write_text(CONDITIONS)
    (faces / "labels.csv").write_text(LABELS + '"b, c/1.png",left,bad\n')
    benchmark = open_benchmark(str(faces), "dark:light=bad; turned:pose=left|right")
    assert benchmark.domain_names == ("dark", "turned", "ordinary")
    assert benchmark.image_domain.tolist() == [[1, 1, 0], [0, 0, 1], [0, 1, 0], [1, 1, 0]]


def test_labels_of_another_set_are_refused(faces):
    (faces / "pairs.csv").write_text("a/1.png,a/2.png,1\na/1.png,b/1.png,0\n")
    (faces / "labels.csv").write_text("path,pose\nx.png,left\n")
    with pytest.raises(InputError, match=r"labels\.csv: none of its 1 row is for an image"):
        open_benchmark(str(faces), "pose=left; light=bad")


def test_a_table_without_a_header(faces):
    (faces / "pairs.csv").write_text("\ufeffa/1.png,a/2.png,1\n\na/1.png, b/1.png ,0\n")
    benchmark = open_benchmark(str(faces))
    assert pairs_of(benchmark) == [("a/1.png", "a/2.png"), ("a/1.png", "b/1.png")]
    assert benchmark.fold is benchmark.pair_domain is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lists no pair"),
        ("path1,path2,same\n", "lists no pair"),
        ("path1,path2\na,b\n", "line 1, .* column 'same' is missing"),
        ("path1,path2,same,same\n", "line 1, .* named twice"),
        ("a/1.png,a/2.png,1\na/1.png,b/1.png\n", "line 2, .* has 2 columns"),
        ("a/1.png,a/2.png,maybe\n", "line 1, .* is not a row of a pair list"),
        ("a/1.png,a/2.png,1\na/1.png,b/1.png,maybe\n", "line 2, .* same is 'maybe'; expected 1 or 0, 1 or -1"),
        ("a/1.png,a/2.png,0\na/1.png,b/1.png,-1\n", "line 2, .* same is -1 here and 0 on line 1"),
        ("a/1.png,,1\n", "line 1, .* a path is empty"),
        ("path1,path2,same,fold\na/1.png,a/2.png,1,x\n", "line 2, .* fold is 'x'"),
        ("path1,path2,same,domain1\na/1.png,a/2.png,1,x\n", "line 1, .* column 'domain2' is missing"),
        ("path1,path2,same,domain1,domain2\na/1.png,a/2.png,1,x+,y\n", "line 2, .* 'x.' names no conditions"),
        ("path1,path2,same,domain1,domain2\na/1.png,a/2.png,1,x+ordinary,\n", "line 2, .* names no conditions"),
        (
            "path1,path2,same,domain1,domain2\na/1.png,a/2.png,1,x,y\nb/1.png,a/1.png,0,y,ordinary\n",
            "line 3, .*: an image is ordinary here and x on line 2; expected the same conditions",
        ),
        ("a/1.png,a/2.png,1\na/2.png,a/1.png,1\n", "all 2 pairs are genuine"),
        ("a/1.png,a/2.png,1\na/1.png,c/9.png,0\n", r"1 of 3 images are missing, e\.g\. .*c/9\.png"),
        ("a/1.png," + "a" * 140_000 + ",1\n", "line 1, .* field larger than"),
    ],
)
def test_errors_in_a_table_are_reported_with_their_line(faces, text, words):
    (faces / "pairs.csv").write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        open_benchmark(str(faces))
    assert "pairs.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_without_one_list_is_refused(faces):
    with pytest.raises(InputError, match=r"holds no pair list, but 3 folders of images: .*; expected an InsightFace"):
        open_benchmark(str(faces))
    with pytest.raises(InputError, match=r"other\.txt does not exist"):
        open_benchmark(f"{faces}:other.txt")
    for name in ("pairs.txt", "pairs.csv"):
        (faces / name).write_text("x")
    with pytest.raises(InputError, match=r"2 pair lists, pairs\.txt, pairs\.csv; choose one as FOLDER:LIST"):
        open_benchmark(str(faces))


def test_sequences_end_to_end_read_only_what_is_asked_for(faces):
    joined = Joined([[face(0)], [], open_benchmark_files(faces)])
    assert len(joined) == 3
    assert joined[0] == face(0) and joined[2] == joined[-1] == face(1)
    assert joined[1:] == [face(0), face(1)]
    (faces / "a" / "1.png").unlink()
    assert joined[0] == face(0)
    with pytest.raises(InputError, match=r"1\.png: cannot be read"):
        joined[1]
    with pytest.raises(IndexError):
        joined[3]


def open_benchmark_files(faces):
    (faces / "pairs.csv").write_text("a/1.png,a/2.png,1\na/1.png,a/2.png,0\n")
    return open_benchmark(str(faces)).images
