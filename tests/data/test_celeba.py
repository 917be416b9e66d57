# SPDX-License-Identifier: Apache-2.0
"""CelebA's published folder: the attributes and split of each image; and what is refused."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.decode import decode
from adaptface_jax.data.name_table import TableFile
from adaptface_jax.data.record import NO_CLASS
from adaptface_jax.data.splits import open_splits

from .packing import encoded, picture

NAMES = ("Smiling", "Wearing_Hat", "Male", "Young")
# Image i: the attributes, and the split.
ROWS = {
    "000001.jpg": ((1, -1, 1, -1), 0),
    "000002.jpg": ((-1, 1, -1, 1), 0),
    "000003.jpg": ((1, 1, 1, 1), 1),
    "000004.jpg": ((-1, 1, 1, 1), 0),
    "000005.jpg": ((1, 1, -1, -1), 2),
}


def attributes_txt(rows=ROWS, count=None) -> str:
    lines = [str(len(rows) if count is None else count), " ".join(NAMES) + " "]
    return "\n".join(lines + [name + "".join(f" {v:2}" for v in values) for name, (values, _) in rows.items()]) + "\n"


def partition_txt(rows=ROWS) -> str:
    return "".join(f"{name} {part}\n" for name, (_, part) in rows.items())


@pytest.fixture
def celeba(tmp_path):
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    for number, name in enumerate(ROWS):
        (folder / "img_align_celeba" / name).write_bytes(encoded(picture(number, 10, 12), "JPEG"))
    (folder / "list_attr_celeba.txt").write_text(attributes_txt())
    (folder / "list_eval_partition.txt").write_text(partition_txt())
    return folder


def parts(splits):
    return splits.train, splits.validation, splits.test


def labeled(splits) -> list[dict[str, list[int]]]:
    return [{part.key(i): part.labels[i].tolist() for i in range(len(part))} for part in parts(splits)]


ALL = [
    {"000001.jpg": [1, 0, 1, 0], "000002.jpg": [0, 1, 0, 1], "000004.jpg": [0, 1, 1, 1]},
    {"000003.jpg": [1, 1, 1, 1]},
    {"000005.jpg": [1, 1, 0, 0]},
]


def test_every_attribute_of_every_part(celeba):
    splits = open_splits(str(celeba))
    assert labeled(splits) == ALL
    assert all(tuple(part.class_names) == NAMES and part.multi_label for part in parts(splits))
    assert all(part.labels.dtype == np.int32 for part in parts(splits))
    record = splits.test[0]
    assert (record.key, record.label) == ("000005.jpg", NO_CLASS)
    assert decode(record.image, record.key).shape == (12, 10, 3)
    assert splits.train.description == f"CelebA in {celeba}, 4 attributes (partition 0, train)"
    assert "no image of 'Male' and 1 more" in splits.test.description


def test_chosen_attributes_in_the_order_chosen(celeba):
    splits = open_splits(str(celeba), ("Male", "Smiling"))
    assert list(splits.train.class_names) == ["Male", "Smiling"]
    assert splits.train.labels.tolist() == [[1, 1], [0, 0], [1, 0]]
    assert "2 of 4 attributes" in splits.train.description


def test_the_order_is_the_attribute_lists_whatever_the_partitions(celeba):
    (celeba / "list_eval_partition.txt").write_text("".join(sorted(partition_txt().splitlines(True), reverse=True)))
    assert labeled(open_splits(str(celeba))) == ALL


def as_csv(folder):
    rows = "".join(f"{name},{','.join(map(str, values))}\r\n" for name, (values, _) in ROWS.items())
    (folder / "list_attr_celeba.csv").write_text(f"image_id,{','.join(NAMES)}\r\n{rows}")
    (folder / "list_eval_partition.csv").write_text("image_id,partition\n" + partition_txt().replace(" ", ","))
    (folder / "list_attr_celeba.txt").unlink()
    (folder / "list_eval_partition.txt").unlink()


def nested(folder):
    (folder / "img_align_celeba").rename(folder / "inner")
    (folder / "img_align_celeba").mkdir()
    (folder / "inner").rename(folder / "img_align_celeba" / "img_align_celeba")


def as_on_the_drive(folder):
    for place, name in (
        ("Anno", "list_attr_celeba.txt"),
        ("Eval", "list_eval_partition.txt"),
        ("Img", "img_align_celeba"),
    ):
        (folder / place).mkdir()
        (folder / name).rename(folder / place / name)


def with_zeros(folder):
    as_csv(folder)
    file = folder / "list_attr_celeba.csv"
    quoted = "".join(f'"{line}"\n'.replace(",", '";"') for line in file.read_text().replace("-1", "0").splitlines())
    file.write_text(quoted)


@pytest.mark.parametrize("change", [as_csv, nested, as_on_the_drive, with_zeros])
def test_other_ways_it_is_published(celeba, change):
    change(celeba)
    assert labeled(open_splits(str(celeba))) == ALL


def test_without_partitions_the_published_numbers_tell_the_part(celeba):
    numbers = dict(zip(ROWS, ("000001", "162770", "162771", "182637", "182638"), strict=True))
    for name, number in numbers.items():
        (celeba / "img_align_celeba" / name).rename(celeba / "img_align_celeba" / f"{number}.jpg")
    rows = {f"{numbers[name]}.jpg": row for name, row in ROWS.items()}
    (celeba / "list_attr_celeba.txt").write_text(attributes_txt(rows))
    (celeba / "list_eval_partition.txt").unlink()
    splits = open_splits(str(celeba))
    found = [[int(part.key(i)[:6]) for i in range(len(part))] for part in parts(splits)]
    assert found == [[1, 162770], [162771, 182637], [182638]] and not splits.train.skipped_files.lines()
    assert "no list_eval_partition: the published partition by number" in splits.test.description


def test_the_images_may_be_the_published_png(celeba):
    (celeba / "img_align_celeba").rename(celeba / "img_align_celeba_png")
    for path in (celeba / "img_align_celeba_png").iterdir():
        path.rename(path.with_suffix(".png"))
    splits = open_splits(str(celeba))
    assert [part.labels.tolist() for part in parts(splits)] == [list(part.values()) for part in ALL]
    assert splits.test.key(0) == "000005.png" and not splits.train.skipped_files.lines()
    assert "5 images with another ending (000001.png for 000001.jpg)" in splits.train.description


def attributes(old, new):
    def change(folder):
        (folder / "list_attr_celeba.txt").write_text(attributes_txt().replace(old, new))

    return change


def partitions(old, new):
    def change(folder):
        (folder / "list_eval_partition.txt").write_text(partition_txt().replace(old, new))

    return change


def without(*names):
    def change(folder):
        for name in names:
            path = folder / name
            path.unlink() if path.is_file() else path.rename(folder / "elsewhere")

    return change


def zipped(folder):
    without("img_align_celeba")(folder)
    (folder / "img_align_celeba.zip").touch()


REFUSED = {
    "a wrong count": (attributes("5\n", "6\n"), "line 1: announces 6 images and lists 5"),
    "no count": (attributes("5\n", ""), "line 1: is not a number of images"),
    "a value of neither kind": (attributes("000002.jpg -1", "000002.jpg  0"), "line 4: value 1 is '0'"),
    "a word for a value": (attributes("000002.jpg -1", "000002.jpg yes"), "line 4: value 1 is 'yes'"),
    "half a value": (attributes("000002.jpg -1", "000002.jpg - "), "line 4: value 1 is '-'"),
    "too large a value": (attributes("000002.jpg -1", "000002.jpg 11"), "line 4: value 1 is '11'"),
    "a short row": (attributes("000002.jpg -1", "000002.jpg"), "line 4: a name with 3 values, the other lines have 4"),
    "a long row": (attributes("000005.jpg", "000005.jpg -1"), "line 7: a name with 5 values"),
    "an empty line": (attributes("\n000003", "\n\n000003"), "line 5: a name with 0 values"),
    "an image twice": (attributes("000003.jpg", "000001.jpg"), "line 5: 000001.jpg is listed twice"),
    "an attribute twice": (attributes("Young", "Male"), "line 2: names an attribute twice"),
    "no rows": (lambda f: (f / "list_attr_celeba.txt").write_text("5\nMale Young\n"), "has no rows"),
    "an empty list": (lambda f: (f / "list_attr_celeba.txt").write_text(""), "is not a number of images"),
    "a binary list": (lambda f: (f / "list_attr_celeba.txt").write_bytes(b"\0\1"), "is not text"),
    "an unknown part": (partitions("000003.jpg 1", "000003.jpg 3"), "line 3: value 1 is '3'"),
    "an image in the partitions twice": (partitions("000003", "000002"), "line 3: 000002.jpg is listed twice"),
    "an image in one list only": (partitions("000003.jpg 1\n", ""), "lacks 1 image .* the first: 000003.jpg"),
    "images in the other list only": (
        partitions("000001", "a.jpg 0\nb.jpg 0\n000001"),
        "names 2 images without attributes, the first: a.jpg",
    ),
    "an empty part": (partitions("jpg 2", "jpg 1"), "no image is in partition 2, test"),
    "missing images": (
        without("img_align_celeba/000002.jpg", "img_align_celeba/000004.jpg"),
        "lacks 2 images of the 5 that the lists name, the first: 000002.jpg",
    ),
    "no images": (without("img_align_celeba"), "holds no img_align_celeba/; expected"),
    "images still packed": (zipped, r"holds no img_align_celeba/; unpack .*img_align_celeba\.zip there"),
    "no partitions": (without("list_eval_partition.txt"), r"holds no list_eval_partition\.txt or \.csv"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_give_one_line(celeba, case):
    change, reason = REFUSED[case]
    change(celeba)
    with pytest.raises(InputError, match=reason) as caught:
        open_splits(str(celeba))
    assert "\n" not in str(caught.value)
    assert str(celeba) in str(caught.value)


def test_attributes_missing_from_the_set(celeba):
    with pytest.raises(InputError, match=r"no attribute 'Smilling'; did you mean Smiling\?"):
        open_splits(str(celeba), ("Male", "Smilling"))
    with pytest.raises(InputError, match="no attribute 'zzz'; it has Smiling, Wearing_Hat, Male, Young"):
        open_splits(str(celeba), ("zzz",))
    with pytest.raises(InputError, match="'Male' is chosen twice"):
        open_splits(str(celeba), ("Male", "Male"))


words = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs", "Z", "Cc")), min_size=1, max_size=9)
spaces = st.sampled_from([" ", "  ", "\t", " \t "])


@given(st.lists(words, min_size=1, max_size=6, unique=True), st.integers(1, 4), st.randoms(), spaces)
def test_a_table_is_read_as_line_by_line(tmp_path_factory, names, columns, random, space):
    table = [[random.randint(-9, 9) for _ in range(columns)] for _ in names]
    path = tmp_path_factory.mktemp("table") / "table.txt"
    end = random.choice(["\n", "\r\n"])
    lines = [
        space.join([name, *map(str, values)]) + random.choice(["", " "]) + end
        for name, values in zip(names, table, strict=True)
    ]
    path.write_text("".join(lines), newline="")
    found = TableFile.read(path, "a table").rows(0, columns, tuple(range(-9, 10)))
    assert list(found.names) == names
    assert found.values.tolist() == table


def test_the_film_faces_as_celeba(shared_data, tmp_path):
    subprocess.run([sys.executable, shared_data / "film_as_celeba.py", tmp_path / "film"], check=True)
    splits = open_splits(str(tmp_path / "film"), ("Eyeglasses", "Male"))
    assert [len(part) for part in parts(splits)] == [6582, 2739, 2428]
    whole = np.concatenate([part.labels for part in parts(splits)])
    assert whole.sum(0).tolist() == [1567, 8034]
    assert decode(splits.test[7].image, "").shape[2] == 3
