# SPDX-License-Identifier: Apache-2.0
"""Tables of labels: common spellings are read, errors give one line, millions of rows stay small."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.labels import LabelTable, encode_labels, label_columns, read_labels

KEYS = ["anna/1.jpg", "anna/2.jpg", "bert/1.jpg", "bert/2.jpg"]


@pytest.fixture
def table(tmp_path):
    """table(content) -> the labels read for KEYS."""

    def read(content: str | bytes, keys=KEYS, **options) -> LabelTable:
        file = tmp_path / "labels.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_labels(file, keys, **options)

    return read


def texts(found: LabelTable) -> dict[str, list[str]]:
    return {name: [column.values[code] for code in column.codes] for name, column in found.columns.items()}


PLAIN = "path,pose,light\nanna/2.jpg,left,bad\nbert/1.jpg,frontal,\nanna/1.jpg,left,good\n"


def test_rows_find_their_records_in_any_order_and_the_rest_is_unknown(table):
    found = table(PLAIN)
    assert texts(found) == {"pose": ["left", "left", "frontal", ""], "light": ["good", "bad", "", ""]}
    assert found.listed.tolist() == [True, True, True, False]
    assert found.key_name == "path" and found.place.endswith("labels.csv") and len(found) == 4
    assert found.columns["light"].known.tolist() == [True, True, False, False]
    assert found.columns["pose"].holds("left").tolist() == [True, True, False, False]
    assert not found.columns["pose"].holds("").any() and not found.columns["pose"].holds("up").any()


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", " , "),
        PLAIN.replace("anna/", "./anna/").replace("bert/", ".//bert/./"),
        PLAIN.replace("/", "\\"),
        PLAIN.replace("anna/1.jpg,left", '"anna/1.jpg", "left"'),
        PLAIN.replace("path", "Datei Name").replace("\n", "\n\n") + ",,\n",
    ],
    ids=["mark", "utf16", "crlf", "semicolons", "tabs", "spaces", "dots", "back slashes", "quotes", "blank rows"],
)
def test_what_people_write_is_understood(table, content):
    assert texts(table(content)) == texts(table(PLAIN))


def test_a_number_names_an_insightface_record(table):
    for key in ("17", "record 17"):
        assert texts(table(f"key,pose\n{key},left\n", ["record 1", "record 17"])) == {"pose": ["", "left"]}


def test_unicode_forms_and_bytes_that_are_no_text(table):
    keys = ["Zoe\u0308/1.jpg", "b\udcff/2.jpg"]
    found = table(b"path,pose\nZo\xc3\xab/1.jpg,left\nb\xff/2.jpg,right\n", keys)
    assert texts(found) == {"pose": ["left", "right"]}


WRONG = {
    "empty": ("", "is empty; expected a table with a header"),
    "header alone": ("path,pose\n", "has a header and no rows"),
    "no header": (
        "anna/1.jpg,left\nanna/2.jpg,left\n",
        "line 1 is a row, 'anna/1.jpg'; expected a table with a header",
    ),
    "one column": ("path\nanna/1.jpg\n", "line 1 names only one column, 'path'"),
    "nameless column": ("path,,pose\n", "line 1: column 2 has no name"),
    "column twice": ("path,pose,light,pose\n", "line 1 names the column 'pose' twice"),
    "ragged": ("path,pose\nanna/1.jpg,left\nanna/2.jpg\n", "line 3 has 1 cell; expected 2, as in the header"),
    "no path": ("path,pose\nanna/1.jpg,left\n,left\n", "line 3 names no record; expected a path"),
    "row twice": (PLAIN + "./anna/2.jpg,left,bad\n", r"line 5, './anna/2.jpg', already has a row, line 2"),
    "unknown": (
        PLAIN + "carl/1.jpg,left,bad\n",
        "line 5, 'carl/1.jpg', is not an image in this dataset; expected keys of this ",
    ),
    "most unknown": (
        "path,pose\nanna/1.jpg,left\nx/1.jpg,up\nx/2.jpg,up\n",
        "line 3, 'x/1.jpg', is not an image in this dataset, and 1 other row of 3: these seem to be labels",
    ),
    "another set": (
        "path,pose\nx/1.jpg,up\nx/2.jpg,up\n",
        "none of its 2 rows is for an image in this dataset (line 2, 'x/1.jpg'); expected keys of this dataset",
    ),
    "open quote": ('path,pose\n"anna/1.jpg,left\n', "line 2 is malformed (unexpected end of data)"),
    "other encoding": (PLAIN.encode("utf-16-le"), "is not UTF-8 text"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_bad_table_gives_one_line(table, name):
    content, expected = WRONG[name]
    with pytest.raises(InputError) as error:
        table(content)
    message = str(error.value)
    assert expected in message and "labels.csv: " in message and "\n" not in message


def test_an_unreadable_file_gives_one_line(tmp_path):
    with pytest.raises(InputError, match=r"labels\.csv: cannot be read \(No such file or directory\)"):
        read_labels(tmp_path / "labels.csv", KEYS)


def test_keys_spelled_alike_are_ambiguous(table):
    with pytest.raises(InputError, match=r"line 2, 'a/1.jpg', is the key of several images"):
        table("path,pose\na/1.jpg,up\n", ["a/1.jpg", "a\\1.jpg"])


def test_a_part_of_a_set_takes_its_rows_of_the_whole(table):
    assert texts(table(PLAIN, KEYS[:1], whole_set=False)) == {"pose": ["left"], "light": ["good"]}
    with pytest.raises(InputError, match="none of its 3 rows"):
        table(PLAIN, KEYS[3:], whole_set=False)


def test_the_columns_alone(table, tmp_path):
    table(PLAIN)
    assert label_columns(tmp_path / "labels.csv") == ("pose", "light")


def test_some_of_the_records(table):
    found = table(PLAIN).take(np.array([3, 1]))
    assert texts(found) == {"pose": ["", "left"], "light": ["", "bad"]} and found.listed.tolist() == [False, True]


def test_a_million_rows_are_a_byte_each(table):
    keys = [str(number) for number in range(300)]
    found = table(
        "key,pose,film\n" + "".join(f"{key},{'left' if int(key) % 2 else 'up'},f{key}\n" for key in keys), keys
    )
    assert found.columns["pose"].codes.dtype == np.uint8 and found.columns["film"].codes.dtype == np.uint16


CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6).map(str.strip)


@settings(max_examples=30)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=len(KEYS)), st.integers(0, 3))
def test_what_is_written_is_read_again(tmp_path_factory, rows, start):
    file = tmp_path_factory.getbasetemp() / "written.csv"
    text = io.StringIO(newline="")
    keys = (KEYS[start:] + KEYS[:start])[: len(rows)]
    csv.writer(text).writerows([("path", "one", "two"), *((key, *row) for key, row in zip(keys, rows, strict=True))])
    file.write_bytes(text.getvalue().encode())
    found = read_labels(file, KEYS)
    assert texts(found.take(np.array([KEYS.index(key) for key in keys]))) == {
        "one": [row[0] for row in rows], "two": [row[1] for row in rows]
    }  # fmt: skip
    content = encode_labels(found, KEYS)
    file.write_bytes(content)
    again = read_labels(file, KEYS)
    assert texts(again) == texts(found) and again.listed.tolist() == found.listed.tolist()
    assert encode_labels(again, KEYS) == content
