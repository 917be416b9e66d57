# SPDX-License-Identifier: Apache-2.0
"""Three splits of a set: the published ones, and those split off its training part, the same every time."""

from __future__ import annotations

import itertools
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.decode import decode
from adaptface_jax.data.pipeline import batches
from adaptface_jax.data.record import labels_digest
from adaptface_jax.data.splits import open_splits

from .packing import encoded, picture

PNG = encoded(picture(0, 4, 4))


def folders(place, counts: dict[str, int]):
    """A folder for each class with that many images."""
    for name, count in counts.items():
        (place / name).mkdir(parents=True)
        for number in range(count):
            (place / name / f"{number:03d}.png").write_bytes(PNG)
    return place


def parts(splits):
    return splits.train, splits.validation, splits.test


def keys(part) -> list[str]:
    return [part.key(i) for i in range(len(part))]


@pytest.mark.parametrize("word", ["val", "valid", "validation"])
def test_published_parts_are_taken_as_they_are(tmp_path, word):
    folders(tmp_path / "train", {"cat": 3, "dog": 2, "owl": 2})
    folders(tmp_path / word, {"owl": 1, "cat": 1, "dog": 1})
    folders(tmp_path / "test", {"dog": 2, "owl": 1})
    splits = open_splits(str(tmp_path), test_fraction=7)  # asked for nothing
    assert [list(part.class_names) for part in parts(splits)] == [["cat", "dog", "owl"]] * 3
    assert [part.labels.tolist() for part in parts(splits)] == [[0, 0, 0, 1, 1, 2, 2], [0, 1, 2], [1, 1, 2]]
    for part in parts(splits):
        assert [part[i].label for i in range(len(part))] == part.labels.tolist()
        assert [part.class_names[part[i].label] for i in range(len(part))] == [key.split("/")[0] for key in keys(part)]
    # A class without an image is reported, in the one split that it concerns.
    assert splits.test.description == f"class folders in {tmp_path / 'test'} (no image of 'cat')"
    assert splits.validation.description == f"class folders in {tmp_path / word}"


def test_parts_are_known_in_any_case_and_a_set_one_level_down_is_named(tmp_path):
    for word in ("Train", "Testing", "VAL"):
        folders(tmp_path / "set" / word, {"cat": 2, "dog": 3})
    splits = open_splits(str(tmp_path / "set"))
    assert [len(part) for part in parts(splits)] == [5, 5, 5] and list(splits.test.class_names) == ["cat", "dog"]
    folders(tmp_path / "up" / "pets", {"cat": 2, "dog": 3})
    for path, inner in ((tmp_path, None), (tmp_path / "up", "pets")):
        with pytest.raises(InputError, match=rf"its {inner or 'set'}/ does; expected data\.path=.*/{inner or 'set'}$"):
            open_splits(str(path))


def test_a_missing_split_is_split_off_by_the_same_call(tmp_path):
    folders(tmp_path / "train", {"a": 30, "b": 20})
    folders(tmp_path / "val", {"a": 2, "b": 2})
    splits = open_splits(str(tmp_path), test_fraction=0.2, split_seed=7)
    labels = np.repeat([0, 1], [30, 20])
    every = np.array([f"{'ab'[label]}/{i:03d}.png" for label, i in zip(labels, [*range(30), *range(20)], strict=True)])
    train, test = train_test_split(every, test_size=0.2, stratify=labels, random_state=7)
    assert keys(splits.train) == train.tolist()
    assert keys(splits.test) == test.tolist()
    assert keys(splits.validation) == ["a/000.png", "a/001.png", "b/000.png", "b/001.png"]
    where = f"class folders in {tmp_path / 'train'}"
    assert splits.train.description == f"{where} (80% of train, stratified, seed 7)"
    assert splits.test.description == f"{where} (20% of train, stratified, seed 7)"


def test_both_parts_are_of_one_size(tmp_path):
    splits = open_splits(str(folders(tmp_path, {"a": 60, "b": 40})))
    assert [len(part) for part in parts(splits)] == [80, 10, 10]
    assert [np.bincount(part.labels).tolist() for part in parts(splits)] == [[48, 32], [6, 4], [6, 4]]
    assert "80% of train" in splits.train.description and "10% of train" in splits.validation.description


def test_only_a_missing_validation_split_is_split_off(tmp_path):
    folders(tmp_path / "train", {"a": 60, "b": 40})
    folders(tmp_path / "test", {"a": 1, "b": 1})
    splits = open_splits(str(tmp_path))
    assert [len(part) for part in parts(splits)] == [90, 10, 2]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return (tmp_path_factory.mktemp("set") for _ in itertools.count())


@given(st.lists(st.integers(6, 40), min_size=2, max_size=5), st.floats(0.15, 0.3), st.integers(0, 2**32 - 1))
def test_a_split_is_disjoint_complete_and_stratified(places, counts, fraction, seed):
    place = str(folders(next(places), {f"c{i}": count for i, count in enumerate(counts)}))
    splits = open_splits(place, (), fraction, seed)
    found = [keys(part) for part in parts(splits)]
    assert len(set().union(*found)) == sum(map(len, found)) == sum(counts)
    for part in parts(splits):
        expected = np.array(counts) * len(part) / sum(counts)
        assert (abs(np.bincount(part.labels, minlength=len(counts)) - expected) < 2).all()
        assert [part.class_names[label] for label in part.labels] == [key.split("/")[0] for key in keys(part)]
    again = open_splits(place, (), fraction, seed)
    for one, other in zip(parts(splits), parts(again), strict=True):
        assert (one.keys_sha256, labels_digest(one)) == (other.keys_sha256, labels_digest(other))
    assert keys(open_splits(place, (), fraction, (seed + 1) % 2**32).test) != keys(splits.test)


def test_digits_as_class_folders_train(tmp_path):
    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        folder = tmp_path / str(label)
        folder.mkdir(exist_ok=True)
        (folder / f"{number:04d}.png").write_bytes(encoded((image * 15.9).astype(np.uint8)))
    splits = open_splits(str(tmp_path))
    assert [len(part) for part in parts(splits)] == [1437, 180, 180]
    assert list(splits.train.class_names) == [str(digit) for digit in range(10)]
    (batch,) = itertools.islice(batches(splits.train, 64, 8, seed=0, threads=0), 1)
    assert batch["image"].shape == (64, 8, 8, 3)
    assert set(batch["label"].tolist()) == set(range(10))
    record = splits.test[5]
    number = int(record.key[2:6])
    assert record.label == digits.target[number]
    expected = (digits.images[number] * 15.9).astype(np.uint8)
    np.testing.assert_array_equal(decode(record.image, "")[..., 1], expected)


def test_a_class_may_be_called_train(tmp_path):
    folders(tmp_path, {"train": 12, "car": 12})
    assert list(open_splits(str(tmp_path)).train.class_names) == ["car", "train"]


def one_with(counts, **others):
    def build(place):
        folders(place / "train" if others else place, counts)
        for name, other in others.items():
            folders(place / name, other)

    return build


GOOD = {"a": 20, "b": 20}
REFUSED = {
    "nothing": (lambda f: None, r"data\.path: .* holds no dataset of images; expected list_attr_celeba\.txt"),
    "images without folders": (lambda f: (f / "a.png").write_bytes(PNG), "holds no dataset of images"),
    "no class in train": (lambda f: (f / "train").mkdir(), "no classes found; expected one folder per class"),
    "one class": (one_with({"a": 9}), "1 class; training needs at least 2"),
    "a class of one image": (
        one_with(GOOD | {"c": 1}),
        r"no test part with 3 classes can be split off \(The least populated class.*the class 'c' has 1 image",
    ),
    "fewer test images than classes": (
        one_with({"a": 3, "b": 3}),
        r"no test part with 2 classes can be split off \(The test_size = 1 .*the class 'a' has 3 images",
    ),
    "another class in test": (
        one_with(GOOD, test={"a": 1, "zebra": 1}),
        r"class folders in .*test: the class 'zebra' is not among the 2 of the training part",
    ),
    "two validation parts": (one_with(GOOD, val=GOOD, valid=GOOD), "holds both val and valid; expected one validation"),
    "an empty test part": (lambda f: (one_with(GOOD, val=GOOD)(f), (f / "test").mkdir()), "test: no classes found"),
    "a class that is a link to another": (
        lambda f: (one_with(GOOD)(f), os.symlink(f / "a", f / "c")),
        "the class 'c' is a link to 'a'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_give_one_line(tmp_path, case):
    change, reason = REFUSED[case]
    change(tmp_path)
    with pytest.raises(InputError, match=reason) as caught:
        open_splits(str(tmp_path))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_settings_that_fit_no_data_set(tmp_path):
    folders(tmp_path / "faces", GOOD)
    with pytest.raises(InputError, match=r"data\.path: .*nowhere' is not a folder"):
        open_splits(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"data\.attributes: .*faces is not a dataset with attributes"):
        open_splits(str(tmp_path / "faces"), ("Male",))
    for fraction in (0, 1, -0.1, 3):
        with pytest.raises(InputError, match=rf"data\.test_fraction: {fraction} is out of range"):
            open_splits(str(tmp_path / "faces"), test_fraction=fraction)
