# SPDX-License-Identifier: Apache-2.0
"""Sets prepared by TensorFlow Datasets, read without TensorFlow and without the network."""

from __future__ import annotations

import io
import json
import sys
import warnings

import numpy as np
import pytest

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.decode import decode
from adaptface_jax.data.record import NO_CLASS
from adaptface_jax.data.sources.from_path import open_source
from adaptface_jax.data.sources.tfds import open_tfds_parts
from adaptface_jax.data.splits import open_splits

from .packing import encoded, picture

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    tfds = pytest.importorskip("tensorflow_datasets")

NAMES = ["zoe", "anna", "Łukasz"]
IMAGES = [encoded(picture(i, 6, 6), "PNG" if i % 2 else "JPEG") for i in range(9)]


def prepare(folder, features, examples, name: str = "tiny", form: str = "array_record", splits=("train",)):
    """Writes a set with TFDS's own writer, as `tfds build` does."""

    class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        code_path = None  # else TFDS needs importlib_resources, which it does not install

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, manager):
            return {split: self._generate_examples() for split in splits}

        def _generate_examples(self):
            for i, example in enumerate(examples):
                next(value for value in example.values() if isinstance(value, io.BytesIO)).seek(0)  # for every split
                yield str(i), example

    Tiny.name = name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Tiny(data_dir=str(folder), file_format=form).download_and_prepare()
    return folder / name / "1.0.0"


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return tmp_path / "tfds"


def lfw_like(data_dir, **options):
    """Like `lfw`: an image and the person's name as text."""
    features = {"image": tfds.features.Image(), "label": tfds.features.Text()}
    examples = [{"image": io.BytesIO(image), "label": NAMES[i % 3]} for i, image in enumerate(IMAGES)]
    return prepare(data_dir, features, examples, **options)


def test_names_as_text_become_classes_in_sorted_order(data_dir):
    lfw_like(data_dir)
    source = open_source("tfds:tiny")
    assert list(source.class_names) == sorted(NAMES)
    assert (len(source), source.num_classes, source.labels.dtype) == (9, 3, np.int32)
    records = [source[i] for i in range(9)]
    assert sorted(record.image for record in records) == sorted(IMAGES)  # the original bytes; TFDS shuffles
    for i, record in enumerate(records):
        assert record.label == source.labels[i]
        assert source.class_names[record.label] == NAMES[IMAGES.index(record.image) % 3]
        assert record.key == source.key(i) == f"train/{i}"
        assert decode(record.image, record.key).shape == (6, 6, 3)
    assert "tiny 1.0.0" in source.description
    assert "tensorflow" not in sys.modules


def test_class_labels_with_gaps_keep_their_names(data_dir):
    features = {
        "photo": tfds.features.Image(),
        "who": tfds.features.ClassLabel(names=["a", "b", "c", "d"]),
        "box": tfds.features.BBoxFeature(),
    }
    box = tfds.features.BBox(0.0, 0.0, 1.0, 1.0)
    examples = [{"photo": io.BytesIO(image), "who": "db"[i % 2], "box": box} for i, image in enumerate(IMAGES)]
    prepare(data_dir, features, examples)
    source = open_source("tfds:tiny", max_per_identity=2)
    assert list(source.class_names) == ["b", "d"]
    assert np.bincount(source.labels).tolist() == [2, 2]


def test_splits_and_versions(data_dir):
    lfw_like(data_dir, splits=("train", "test"))
    first = open_source("tfds:tiny:train[:6]")
    assert len(first) == 6 and first.skipped_files.lines() == ["skipped: 1 file (1 of the split test)"]
    assert not open_tfds_parts("tfds:tiny")["train"].skipped_files.total
    (data_dir / "tiny" / "1.0.0" / "0.png").write_bytes(IMAGES[1])
    both = open_source("tfds:tiny:1.0.0:train+test")
    assert len(both) == 18
    assert both.skipped_files.lines() == ["skipped: 1 file (1 in separate files next to the records)"]
    assert open_source("tfds:tiny:test").key(0) == "test/0"


WRONG = {
    "tfds:lfw": "tfds build lfw --file_format=array_record --data_dir=.* TFDS_DATA_DIR",
    "tfds:tiny:2.0.0": r"no version 2\.0\.0 in .*found: 1\.0\.0",
    "tfds:tiny:valid": "Unknown split 'valid'",
    "tfds:../tiny": r"is not tfds:NAME",
    "tfds:": r"is not tfds:NAME",
    "tfds:other": r"which configuration\? write tfds:other/large",
}


def test_what_is_missing_gives_one_line_that_says_what_to_do(data_dir):
    folder = lfw_like(data_dir)
    (data_dir / "other" / "large").mkdir(parents=True)
    folder.rename(data_dir / "other" / "large" / "1.0.0")
    lfw_like(data_dir)
    for spec, reason in WRONG.items():
        with pytest.raises(InputError, match=reason) as caught:
            open_source(spec)
        assert "\n" not in str(caught.value)


def test_sets_without_an_identity_are_refused(data_dir):
    image = {"image": tfds.features.Image()}
    prepare(data_dir, image | {"age": tfds.features.Scalar(np.float32)}, [{"image": io.BytesIO(IMAGES[0]), "age": 1.0}])
    with pytest.raises(InputError, match="a feature `label` or one class label among its features, found age, image"):
        open_source("tfds:tiny")
    prepare(
        data_dir, image | {"label": tfds.features.Scalar(np.float32)}, [{"image": io.BytesIO(IMAGES[0]), "label": 1.0}],
        name="other",
    )  # fmt: skip
    with pytest.raises(InputError, match="`label` is not a class, text or integer"):
        open_source("tfds:other")


def test_a_set_of_another_format_is_refused(data_dir):
    folder = lfw_like(data_dir)
    info = json.loads((folder / "dataset_info.json").read_text())
    (folder / "dataset_info.json").write_text(json.dumps(info | {"fileFormat": "tfrecord"}))
    with pytest.raises(InputError, match="--file_format=array_record") as caught:
        open_source("tfds:tiny")
    assert "\n" not in str(caught.value)


def test_no_code_that_the_files_name_is_imported(data_dir, tmp_path, monkeypatch):
    folder = lfw_like(data_dir)
    (tmp_path / "evil.py").write_text("raise SystemExit('owned')")
    monkeypatch.syspath_prepend(tmp_path)
    text = (folder / "features.json").read_text()
    (folder / "features.json").write_text(text.replace("tensorflow_datasets.core.features.text_feature", "evil"))
    with pytest.raises(InputError, match=r"names the code 'evil\.Text'"):
        open_source("tfds:tiny")


@pytest.mark.parametrize("at", [400, 900, -1])
def test_corruption_gives_one_line(data_dir, at):
    folder = lfw_like(data_dir)
    (shard,) = folder.glob("*array_record*")
    content = bytearray(shard.read_bytes())
    if at < 0:
        content = content[:1000]
    else:
        content[at] ^= 255
    shard.write_bytes(content)
    with pytest.raises(InputError) as caught:
        open_source("tfds:tiny")
    assert "\n" not in str(caught.value)


ATTRIBUTES = ["Young", "Male", "Smiling"]


def celeba_like(data_dir, **options):
    """Like `celeb_a`: image i has attribute k if bit k of i is set."""
    features = {
        "image": tfds.features.Image(),
        "attributes": dict.fromkeys(ATTRIBUTES, np.bool_),
        "landmarks": {"nose_x": np.int64},
    }
    examples = [
        {
            "image": io.BytesIO(image),
            "attributes": {name: bool(i >> k & 1) for k, name in enumerate(ATTRIBUTES)},
            "landmarks": {"nose_x": 3},
        }
        for i, image in enumerate(IMAGES)
    ]
    return prepare(data_dir, features, examples, splits=("train", "validation", "test"), **options)


def test_attributes_make_a_multi_label_set_in_three_parts(data_dir):
    celeba_like(data_dir)
    splits = open_splits("tfds:tiny", ("Smiling", "Young"))
    for part in (splits.train, splits.validation, splits.test):
        assert list(part.class_names) == ["Smiling", "Young"]
        assert part.labels.dtype == np.int32 and part.multi_label
        for i in range(9):
            record = part[i]
            number = IMAGES.index(record.image)
            assert part.labels[i].tolist() == [number >> 2 & 1, number & 1]
            assert record.label == NO_CLASS
    assert splits.validation.key(3) == "validation/3"
    assert "split test" in splits.test.description
    assert list(open_splits("tfds:tiny").train.class_names) == sorted(ATTRIBUTES)
    assert "tensorflow" not in sys.modules


def test_a_class_set_has_its_parts_and_the_missing_one_is_split_off(data_dir):
    features = {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=["a", "b", "c"])}
    examples = [{"image": io.BytesIO(IMAGES[i % 9]), "label": "abc"[i % 3]} for i in range(30)]
    prepare(data_dir, features, examples, splits=("train", "test"))
    splits = open_splits("tfds:tiny")
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [27, 3, 30]
    assert list(splits.test.class_names) == ["a", "b", "c"]
    assert "split train" in splits.validation.description and "10% of train" in splits.validation.description


def test_unavailable_splits(data_dir):
    celeba_like(data_dir)
    lfw_like(data_dir, name="faces", splits=("train", "validation"))
    lfw_like(data_dir, name="tests", splits=("test",))
    refused = {
        ("tfds:tiny", ("Smilin",)): r"no attribute 'Smilin'; did you mean Smiling\?",
        ("tfds:faces", ("Male",)): r"data\.attributes: the dataset has classes, not attributes",
        ("tfds:tiny:train", ()): "name no split",
        ("tfds:tests", ()): "Unknown split 'train'",
        ("tfds:absent", ()): "no prepared dataset",
    }
    for (path, attributes), reason in refused.items():
        with pytest.raises(InputError, match=reason) as caught:
            open_splits(path, attributes)
        assert "\n" not in str(caught.value)


def test_faces_are_not_trained_on_attributes(data_dir):
    celeba_like(data_dir)
    with pytest.raises(InputError, match=r"data\.train: TFDS tiny .* has attributes; expected a dataset of identities"):
        open_source("tfds:tiny", max_identities=2)
