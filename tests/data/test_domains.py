"""Domains are made from labels by terms: several may hold, ordinary means none holds, unknown is neither."""

from __future__ import annotations

import numpy as np
import pytest

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.domains import Term, parse_domains
from adaptface_jax.data.labels import Column, LabelTable
from adaptface_jax.data.sources.from_path import open_source


def table(**columns: list[str]) -> LabelTable:
    made = {}
    for name, texts in columns.items():
        values = tuple(dict.fromkeys(["", *texts]))
        made[name] = Column(np.array([values.index(text) for text in texts], np.uint8), values)
    return LabelTable(made, np.ones(len(texts), bool), "t.csv")


#                  turned   dark and turned  neither   dark    light unknown  nothing known
FACES = table(
    pose=["left", "right", "frontal", "frontal", "frontal", ""],
    light=["good", "bad", "good", "bad", "", ""],
)


def test_terms():
    domains = parse_domains(" pose = left | right ;dark:light=bad; ordinary;")
    assert domains.names == ("pose", "dark", "ordinary")
    assert domains.terms[1] == Term("dark", "light", ("bad",))


def test_an_image_may_be_of_several_domains_or_of_none():
    found = parse_domains("pose=left|right; light=bad").membership(FACES)
    assert found.dtype == np.uint8
    assert found.tolist() == [[1, 0], [1, 1], [0, 0], [0, 1], [0, 0], [0, 0]]


def test_ordinary_images_are_fully_labeled_with_no_term_true():
    found = parse_domains("ordinary; pose=left|right; light=bad").membership(FACES)
    assert found[:, 0].tolist() == [0, 0, 1, 0, 0, 0]
    assert parse_domains("pose=left|right; ordinary").membership(FACES)[:, 1].tolist() == [0, 0, 1, 1, 1, 0]


def test_a_missing_column_is_unknown():
    found = parse_domains("pose=left|right; age=old; ordinary").membership(FACES)
    assert found.tolist() == [[1, 0, 0], [1, 0, 0], *[[0, 0, 0]] * 4]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("poses=left; light=bad", "t.csv has no column 'poses'; expected one of pose, light"),
        (
            "pose=lefd; light=bad",
            "no image has pose = 'lefd' in t.csv; expected one of the values left, right",
        ),
        ("pose=left|right|frontal; ordinary", "no image in t.csv is in the domain 'ordinary'"),
        ("pose=left", "'pose=left' defines 1 domain; expected at least 2, terms like pose=left|right"),
        (" ; ", "defines 0 domains"),
        ("pose=left; pose=right", "two domains are named 'pose'; expected different names, as in left:pose=left"),
        ("ordinary; ordinary; pose=left", "two domains are named 'ordinary'"),
        (
            "pose=left; normal",
            "'normal' is not a term; expected terms like pose=left|right separated by `;`, or ordinary",
        ),
        ("pose=left; light=", "'light=' is not a term"),
        ("pose=left; light=bad|bad", "'light=bad|bad' is not a term"),
        ("pose=left; =bad", "'=bad' is not a term"),
        ("pose=left; :light=bad", "':light=bad' is not a term"),
        ("pose=left; ordinary:light=good", "'ordinary:light=good' is named ordinary"),
    ],
)
def test_a_bad_setting_gives_one_line(text, problem):
    with pytest.raises(InputError) as error:
        parse_domains(text).check(FACES)
    assert str(error.value).startswith("data.domains: ") and problem in str(error.value)
    assert "\n" not in str(error.value)


# On a training set.


@pytest.fixture
def faces(tmp_path):
    """anna/0.png ... bert/2.png, and a table of them."""
    for name in ("anna", "bert"):
        (tmp_path / "faces" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "faces" / name / f"{number}.png").write_bytes(b"")
    rows = ["anna/0.png,left,bad", "anna/1.png,frontal,good", "bert/1.png,left,good", "bert/2.png,frontal,"]
    (tmp_path / "faces" / "labels.csv").write_text("\n".join(["path,pose,light", *rows]))
    return tmp_path / "faces"


TERMS = "pose=left; light=bad; ordinary"


def test_labels_in_the_folder_are_not_an_identity_and_make_domains(faces):
    source = open_source(str(faces), domains=TERMS)
    assert list(source.class_names) == ["anna", "bert"] and len(source) == 6
    assert source.domain_names == ("pose", "light", "ordinary")
    expected = [[1, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert source.domains.tolist() == expected
    assert source.table.listed.tolist() == [True, True, False, False, True, True]


def test_a_part_of_a_set_keeps_its_domains(faces):
    """The labels are those of the full set, whatever part of it is trained on."""
    part = open_source(str(faces), max_per_identity=2, domains=TERMS)
    assert part.domains.tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 0], [1, 0, 0]]
    assert part.domain_names == ("pose", "light", "ordinary") and len(part.table) == 4


def test_labels_that_nothing_uses_are_not_read(faces):
    (faces / "labels.csv").write_text("path,pose,light\nelsewhere.png,left,bad\n")
    source = open_source(str(faces))
    assert source.label_columns == ("pose", "light") and source.table is None and source.domains is None
    with pytest.raises(InputError, match=r"labels\.csv: none of its 1 row is for an image in this dataset"):
        open_source(str(faces), domains=TERMS)


def test_a_named_table_is_taken_in_place_of_the_one_in_the_folder(faces, tmp_path):
    (tmp_path / "other.csv").write_text("key,pose\nanna/0.png,up\nbert/0.png,down\n")
    source = open_source(str(faces), labels=str(tmp_path / "other.csv"), domains="pose=up; down:pose=down")
    assert source.domains.sum(axis=1).tolist() == [1, 0, 0, 1, 0, 0]


def test_domains_without_labels_give_one_line(faces):
    (faces / "labels.csv").unlink()
    with pytest.raises(InputError, match=r"^data\.domains: identity folders in .* has no labels; put labels\.csv into"):
        open_source(str(faces), domains=TERMS)


def test_generated_faces_have_labels_of_their_own():
    spec = "synthetic:identities=2,images=6"
    assert open_source(spec).domain_names == ("pose", "age", "light")
    source = open_source(spec, domains="aged:condition=age; ordinary")
    assert source.domain_names == ("aged", "ordinary") and source.domains.sum(axis=0).tolist() == [4, 8]
    with pytest.raises(InputError, match="no labels"):
        open_source(spec + ",labels=none", domains="aged:condition=age; ordinary")


def test_the_film_faces(shared_data):
    source = open_source(str(shared_data / "film" / "train"), domains="pose=left|right; age=old|child; light=bad")
    assert len(source) == 9_321 and source.domains.sum(axis=0).tolist() == [4_453, 1_093, 2_436]
    assert (source.domains.sum(axis=1) > 1).sum() == 1_687
