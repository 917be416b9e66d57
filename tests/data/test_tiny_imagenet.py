# SPDX-License-Identifier: Apache-2.0
"""Tiny-ImageNet's published folder: classes in wnids.txt's order; and what is refused."""

from __future__ import annotations

import shutil
import tarfile

import numpy as np
import pytest

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.decode import decode
from adaptface_jax.data.splits import open_splits
from adaptface_jax.data.statistics import channel_statistics

from .packing import encoded, picture

WNIDS = ["n3", "n1", "n2"]
ANNOTATIONS = "val_0.JPEG\tn1\t0\t0\t9\t9\nval_2.JPEG\tn3\t0\t0\t9\t9\nval_1.JPEG\tn2\t0\t0\t9\t9\n"
JPEG = encoded(picture(0, 8, 8), "JPEG")


@pytest.fixture
def tiny(tmp_path):
    folder = tmp_path / "tiny"
    for number, wnid in enumerate(WNIDS):
        images = folder / "train" / wnid / "images"
        images.mkdir(parents=True)
        for image in range(10):
            (images / f"{wnid}_{image}.JPEG").write_bytes(encoded(picture(10 * number + image, 8, 8), "JPEG"))
        (images.parent / f"{wnid}_boxes.txt").touch()
    (folder / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    (folder / "words.txt").write_text("n1\tcrane\nn2\tcrane, bird\nn3\tgoldfish, Carassius auratus\nn4\ttench\n")
    (folder / "val" / "images").mkdir(parents=True)
    (folder / "val" / "val_annotations.txt").write_text(ANNOTATIONS)
    for image in range(3):
        (folder / "val" / "images" / f"val_{image}.JPEG").write_bytes(JPEG)
    return folder


def test_classes_are_in_the_lists_order_and_called_by_their_words(tiny):
    splits = open_splits(str(tiny))
    # Two classes are called "crane": neither is.
    assert list(splits.train.class_names) == ["goldfish", "n1", "n2"]
    for part in (splits.train, splits.test):
        for i in range(len(part)):
            record = part[i]
            assert record.label == part.labels[i]
            assert record.key == part.key(i)
            assert record.key.split("/")[1] == WNIDS[record.label]
            assert decode(record.image, record.key).shape == (8, 8, 3)
    assert (len(splits.train), len(splits.test)) == (27, 3)
    assert splits.train.description == f"Tiny-ImageNet train in {tiny} (90% of train, stratified, seed 42)"


def test_its_validation_part_is_as_annotated(tiny):
    validation = open_splits(str(tiny)).validation
    assert [validation.key(i) for i in range(3)] == [f"val/images/val_{i}.JPEG" for i in (0, 2, 1)]
    assert validation.labels.tolist() == [1, 0, 2]
    assert validation[0].image == JPEG
    assert validation.description == f"Tiny-ImageNet val in {tiny}"


def test_words_may_be_missing_and_unlabeled_images_are_skipped(tiny):
    (tiny / "words.txt").unlink()
    (tiny / "test" / "images").mkdir(parents=True)
    splits = open_splits(str(tiny))
    assert list(splits.train.class_names) == WNIDS
    assert "the images of test/ have no labels and are skipped" in splits.train.description


@pytest.mark.parametrize("place", ["val/{0}", "val/{0}/images", "val/images/{0}"])
def test_its_validation_part_may_be_in_folders_of_classes(tiny, place):
    for number, wnid in enumerate(("n1", "n2", "n3")):
        file = tiny / place.format(wnid) / f"val_{number}.JPEG"
        file.parent.mkdir(parents=True)
        (tiny / "val" / "images" / f"val_{number}.JPEG").rename(file)
    validation = open_splits(str(tiny)).validation
    assert [validation.key(i) for i in range(3)] == [
        f"{place.format(wnid)}/val_{number}.JPEG" for wnid, number in (("n3", 2), ("n1", 0), ("n2", 1))
    ]
    assert validation.labels.tolist() == [0, 1, 2] and validation.description.endswith(", by its folders")


def test_the_list_of_classes_and_the_inner_folders_may_be_missing(tiny):
    before = open_splits(str(tiny))
    for wnid in WNIDS:
        for file in (tiny / "train" / wnid / "images").iterdir():
            file.rename(tiny / "train" / wnid / file.name)
        (tiny / "train" / wnid / "images").rmdir()
    after = open_splits(str(tiny))
    assert after.train.labels.tolist() == before.train.labels.tolist()
    (tiny / "wnids.txt").unlink()
    found = open_splits(str(tiny))
    assert list(found.train.class_names) == ["n1", "n2", "goldfish"]
    assert found.validation.labels.tolist() == [0, 2, 1] and "which has no wnids.txt" in found.train.description


def written(name, text):
    return lambda folder: (folder / name).write_text(text)


def one_class(folder):
    written("wnids.txt", "n3\n")(folder)
    written(VAL, ANNOTATIONS.replace("n1", "n3").replace("n2", "n3"))(folder)


VAL = "val/val_annotations.txt"
REFUSED = {
    "an unknown class": (written(VAL, ANNOTATIONS.replace("n2", "n9")), r"line 3, .* n9 is not in wnids\.txt"),
    "one column": (written(VAL, "val_0.JPEG\n"), "line 1, 'val_0.JPEG': has only one column"),
    "an image annotated twice": (
        written(VAL, ANNOTATIONS + "val_0.JPEG\tn1\n"),
        "line 4, .*: the image is annotated twice",
    ),
    "an annotated image that is missing": (
        lambda f: (f / "val/images/val_2.JPEG").unlink(),
        "lacks 1 image that val_annotations.txt names, the first: val_2.JPEG",
    ),
    "images that nobody annotated": (
        written(VAL, ANNOTATIONS.splitlines(True)[0]),
        "holds 2 images that val_annotations.txt does not name, the first: val_1.JPEG",
    ),
    "no annotations": (lambda f: (f / VAL).unlink(), r"val_annotations\.txt: cannot be read"),
    "a class without a folder": (lambda f: shutil.rmtree(f / "train" / "n2"), "n2/images: cannot be listed"),
    "a class without an image": (
        lambda f: [path.unlink() for path in (f / "train/n2/images").iterdir()],
        "n2/images: holds no image; wnids.txt names the class n2",
    ),
    "a class twice": (written("wnids.txt", "n3\nn1\n\nn3\n"), "line 4, 'n3': is also on line 1"),
    "two classes a line": (written("wnids.txt", "n3 n1\n"), "line 1, 'n3 n1': is not a class"),
    "no class": (written("wnids.txt", "\n"), "wnids.txt: is empty"),
    "one class": (one_class, "1 class; training needs at least 2"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_give_one_line(tiny, case):
    change, reason = REFUSED[case]
    change(tiny)
    with pytest.raises(InputError, match=reason) as caught:
        open_splits(str(tiny))
    assert "\n" not in str(caught.value)
    assert str(tiny) in str(caught.value)


def test_a_set_of_classes_has_no_attributes(tiny):
    with pytest.raises(InputError, match=r"data\.attributes: .* is not a dataset with attributes"):
        open_splits(str(tiny), ("Male",))


@pytest.mark.slow
def test_twenty_published_classes(shared_data, tmp_path):
    with tarfile.open(shared_data / "tiny_imagenet" / "tiny-imagenet-20.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    splits = open_splits(str(tmp_path / "tiny-imagenet-20"))
    for part, each in ((splits.train, 450), (splits.validation, 50), (splits.test, 50)):
        assert np.bincount(part.labels).tolist() == [each] * 20
    assert {"bullfrog", "school bus", "acorn"} < set(splits.train.class_names)
    stats = channel_statistics(splits.validation, 64)
    # All 200 classes: 0.4802, 0.4480, 0.3974 and 0.2765, 0.2689, 0.2816.
    np.testing.assert_allclose(stats.mean, (0.4802, 0.4480, 0.3974), atol=0.02)
    np.testing.assert_allclose(stats.std, (0.2765, 0.2689, 0.2816), atol=0.01)
