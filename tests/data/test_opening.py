"""What a path opens: records, identity folders, generated faces; all or the first part of them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.benchmarks.from_path import open_benchmark
from adaptface_jax.data.decode import decode
from adaptface_jax.data.record import Keys, texts_digest
from adaptface_jax.data.sources.from_path import open_form, open_source

from .packing import encoded, identity_payloads, picture, write_records

# Folders sort as text: s10 is before s2.
FOLDERS = {"s10": ["b.jpg", "a.PNG"], "s2": ["1.pgm", "10.pgm", "2.pgm"], "anna": ["1.bmp"]}
FORMS = {"jpg": "JPEG", "PNG": "PNG", "pgm": "PPM", "bmp": "BMP"}


@pytest.fixture
def faces(tmp_path):
    folder = tmp_path / "faces"
    for identity, files in FOLDERS.items():
        (folder / identity).mkdir(parents=True)
        for number, name in enumerate(files):
            content = encoded(picture(number, 8, 8), FORMS[name.split(".")[1]])
            (folder / identity / name).write_bytes(content)
    (folder / "anna" / "notes.txt").write_text("no image")
    (folder / ".cache").mkdir()
    (folder / "nobody").mkdir()
    (folder / "list.txt").write_text("no identity")
    return folder


def keys(source) -> list[str]:
    return ["/".join(source[i].key.split("/")[-2:]) for i in range(len(source))]


def test_identity_folders_in_sorted_order(faces):
    source = open_source(str(faces))
    assert keys(source) == ["anna/1.bmp", "s10/a.PNG", "s10/b.jpg", "s2/1.pgm", "s2/10.pgm", "s2/2.pgm"]
    assert source.labels.tolist() == [source[i].label for i in range(6)] == [0, 1, 1, 2, 2, 2]
    assert source.labels.dtype == np.int32
    assert source.num_classes == 3
    assert str(faces) in source.description
    assert decode(source[2].image, "b").shape == (8, 8, 3)
    assert pickle.loads(pickle.dumps(source))[3].image == source[3].image


def test_original_photographs(shared_data):
    source = open_source(str(shared_data / "att_faces" / "images"), max_identities=3, max_per_identity=2)
    assert keys(source) == ["s1/1.png", "s1/10.png", "s10/1.png", "s10/10.png", "s11/1.png", "s11/10.png"]
    assert decode(source[0].image, source[0].key).shape == (112, 92, 3)


def test_a_folder_with_train_rec_is_records(faces):
    write_records(faces, identity_payloads({0.0: [b"a", b"b"], 1.0: [b"c"]}))
    assert [open_source(str(faces))[i].image for i in range(3)] == [b"a", b"b", b"c"]


@pytest.mark.parametrize(
    ("identities", "images", "expected"),
    [
        (2, None, ["c", "d", "f", "e"]),
        (None, 1, ["a", "c", "d"]),
        (2, 1, ["c", "d"]),
        (99, 99, ["a", "b", "c", "d", "f", "e"]),
    ],
)
def test_subsets_are_the_first_by_label_and_keep_the_order(tmp_path, identities, images, expected):
    people = {8.0: [b"a", b"b"], 2.0: [b"c"], 5.0: [b"d", b"f", b"e"]}
    source = open_source(str(write_records(tmp_path, identity_payloads(people))), identities, images)
    records = [source[i] for i in range(len(source))]
    assert sorted(r.image.decode() for r in records) == sorted(expected)
    assert [r.label for r in records] == source.labels.tolist()
    assert sorted(set(source.labels.tolist())) == list(range(source.num_classes))
    assert source.num_classes == min(identities or 3, 3)
    assert str(identities or images) in source.description


def test_generated_faces_open_by_their_specification():
    source = open_source("synthetic:identities=3", max_per_identity=2)
    assert source.num_classes == 3
    assert len(source) == 6
    np.testing.assert_array_equal(source.domains, np.tile(np.eye(2, 3, dtype=np.uint8), (3, 1)))
    assert source.domain_names == ("pose", "age", "light")


def test_what_cannot_be_trained_on_gives_one_line(faces, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    flat = tmp_path / "flat"
    flat.mkdir()
    (flat / "a.png").write_bytes(encoded(picture(0)))
    half = write_records(tmp_path / "half", identity_payloads({0.0: [b"a"], 1.0: [b"b"]}))
    (half / "train.rec").unlink()
    refused = {
        str(half): "train.rec: cannot be read",
        str(tmp_path / "nowhere"): "is neither a folder nor a list",
        str(faces / "list.txt"): "1 of 1 images are missing",
        "tfds:nothing": "no prepared dataset",
        str(empty): "no identities found",
        str(flat): "one folder per identity",
    }
    for path, reason in refused.items():
        with pytest.raises(InputError, match=reason) as caught:
            open_source(path)
        assert path in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("identities", "images"), [(1, None), (0, None), (-3, None), (None, 0)])
def test_fewer_than_two_identities_or_no_images_are_refused(faces, identities, images):
    with pytest.raises(InputError, match=r"^data\."):
        open_source(str(faces), identities, images)


def test_a_set_of_one_identity_is_refused(tmp_path):
    write_records(tmp_path, identity_payloads({7.0: [b"a", b"b"]}))
    with pytest.raises(InputError, match="1 identity; training needs at least 2"):
        open_source(str(tmp_path))


def test_an_image_that_vanished_is_named(faces):
    source = open_source(str(faces))
    (faces / "anna" / "1.bmp").unlink()
    with pytest.raises(InputError, match=r"anna/1\.bmp: cannot be read"):
        source[0]


def test_benchmarks_open_by_ending(tmp_path, shared_data):
    assert len(open_benchmark(str(shared_data / "att_faces" / "att.bin")).issame) == 600
    (tmp_path / "lfw.txt").write_text("x")
    refused = {"lfw.txt": "is not a row of a pair list", "no.bin": "does not exist", "": "holds no pair list"}
    for path, reason in refused.items():
        with pytest.raises(InputError, match=reason):
            open_benchmark(str(tmp_path / path))


def test_the_digest_of_keys_is_that_of_each_key_in_order(faces, tmp_path):
    packed = write_records(tmp_path / "packed", identity_payloads({1.0: [b"a", b"b"], 2.0: [b"c"]}))
    named = tmp_path / "named"
    for name in ("a", "b\udcff"):  # bytes that are not UTF-8
        (named / name).mkdir(parents=True)
        (named / name / "1.png").write_bytes(encoded(picture(0, 8, 8)))
    (named / "train.csv").write_text("image,label\na/1.png,4\n")
    sources = [open_source(str(path)) for path in (faces, packed, named)]
    sources += [open_source(str(faces), max_per_identity=1), open_form(str(named / "train.csv"))]
    for source in sources:
        assert source.keys_sha256 == texts_digest(Keys(source))
