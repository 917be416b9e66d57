"""Image sets in Parquet files, as the hub hosts them: every row once, in order; and what is refused."""

from __future__ import annotations

import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.decode import decode
from adaptface_jax.data.sources import parquet as reader
from adaptface_jax.data.sources.parts import open_parts
from adaptface_jax.data.splits import open_splits

from .packing import encoded, picture

NAMES = ["cat", "dog", "owl"]
IMAGES = [encoded(picture(i, 6, 6), "JPEG" if i % 2 else "PNG") for i in range(30)]
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def metadata(names=NAMES) -> dict[bytes, bytes]:
    label = {"names": names, "_type": "ClassLabel"}
    return {b"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}, "label": label}}}).encode()}


def table(start=0, stop=30, classes=3, **columns) -> pa.Table:
    rows = range(start, stop)
    images = pa.array([{"bytes": IMAGES[i], "path": None} for i in rows], STRUCT)
    labels = pa.array([i % classes for i in rows], pa.int64())
    return pa.table({"image": images, "label": labels} | columns).replace_schema_metadata(metadata())


def write(path, content: pa.Table, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(content, path, row_group_size=4, **options)


@pytest.fixture
def hub(tmp_path):
    folder = tmp_path / "hub"
    write(folder / "data" / "train-00000-of-00002-ab12.parquet", table(0, 13))
    write(folder / "data" / "train-00001-of-00002-cd34.parquet", table(13, 30))
    write(folder / "data" / "valid-00000-of-00001.parquet", table(0, 6))
    return folder


def test_shards_are_one_set_in_order(hub):
    train = open_parts(str(hub))["train"]
    assert [train[i].image for i in range(30)] == IMAGES
    assert train[-1].image == IMAGES[-1]
    assert train.labels.tolist() == [train[i].label for i in range(30)] == [i % 3 for i in range(30)]
    assert train.labels.dtype == np.int32
    assert list(train.class_names) == NAMES
    assert train.key(0) == train[0].key == "data/train-00000-of-00002-ab12.parquet/0"
    assert train.key(13) == "data/train-00001-of-00002-cd34.parquet/0"
    assert len({train.key(i) for i in range(30)}) == 30
    assert decode(train[3].image, "").shape == (6, 6, 3)
    assert pickle.loads(pickle.dumps(train))[20].image == IMAGES[20]
    with pytest.raises(IndexError):
        train[30]


def test_the_missing_test_part_is_split_off(hub):
    splits = open_splits(str(hub))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (27, 6, 3)
    assert splits.validation.description == f"Parquet files in {hub}, validation"
    assert splits.test.description == f"Parquet files in {hub}, train (10% of train, stratified, seed 42)"


@pytest.mark.parametrize("word", ["val", "valid", "validation"])
def test_plain_files_without_names_of_classes(tmp_path, word):
    """Together, with images as bytes of either width and labels of any integer type."""
    for name, kind, whole in (("train", pa.binary(), pa.int64()), (word, pa.large_binary(), pa.uint8())):
        columns = {"image": pa.array(IMAGES, kind), "label": pa.array([i % 3 for i in range(30)], whole)}
        write(tmp_path / f"{name}.parquet", pa.table(columns))
    parts = open_parts(str(tmp_path))
    assert list(parts) == ["train", "validation"]
    assert list(parts["train"].class_names) == ["0", "1", "2"]
    assert [parts["validation"][i].image for i in range(30)] == IMAGES


def test_threads_read_the_same(hub):
    train = open_parts(str(hub))["train"]
    order = np.random.default_rng(0).integers(0, 30, 600).tolist()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda i: train[i].image, order)) == [IMAGES[i] for i in order]


def test_a_row_without_an_image_is_an_error_of_that_record(tmp_path):
    images = pa.array([None if i == 4 else {"bytes": IMAGES[i], "path": None} for i in range(30)], STRUCT)
    write(tmp_path / "train.parquet", table(image=images))
    train = open_parts(str(tmp_path))["train"]
    assert train[5].image == IMAGES[5]
    with pytest.raises(InputError, match=r"train\.parquet/4 has no image"):
        train[4]


def replaced(name, content):
    return lambda folder: write(folder / "data" / name, content)


SHARD, VALID = "train-00000-of-00002-ab12.parquet", "valid-00000-of-00001.parquet"
numbers = pa.array(range(6), pa.int64())
REFUSED = {
    "a missing shard": (
        lambda f: (f / "data" / SHARD).unlink(),
        "train-00001-of-00002.*: shards missing or duplicate",
    ),
    "a shard twice": (replaced("train-00001-of-00002-ef.parquet", table()), "shards missing or duplicate"),
    "two validation parts": (replaced("validation.parquet", table()), "holds both valid and validation"),
    "no training part": (
        lambda f: [path.unlink() for path in (f / "data").glob("train*")],
        r"Parquet files, but no train-\*\.parquet",
    ),
    "other columns": (
        replaced(VALID, pa.table({"img": pa.array(IMAGES[:6]), "label": numbers})),
        r"has the columns img \(binary\), label \(int64\); expected image \(a struct",
    ),
    "decoded images": (
        replaced(VALID, pa.table({"image": [[1, 2]], "label": [0]})),
        r"image \(list<element: int64>\), label \(int64\); expected",
    ),
    "labels that are words": (
        replaced(VALID, pa.table({"image": pa.array(IMAGES[:1]), "label": ["cat"]})),
        r"label \(string\)",
    ),
    "a label out of range": (replaced(VALID, table(0, 6, label=numbers)), "row 3 has the label 3; expected 0 to 2"),
    "unlabeled rows": (
        replaced(VALID, table(0, 6, label=pa.array([-1] * 6, pa.int64()))),
        r"row 0 has the label -1; .* \(remove the file if it is unlabeled\)",
    ),
    "a row without a label": (
        replaced(VALID, table(0, 6, label=pa.array([0, 1, None, 0, 1, 2], pa.int64()))),
        "row 2 has no label",
    ),
    "paths alone": (
        replaced(VALID, table(0, 6, image=pa.array([{"bytes": None, "path": "a.png"}] * 6, STRUCT))),
        "holds only paths, no image bytes",
    ),
    "other classes": (
        replaced(VALID, table(0, 6).replace_schema_metadata(metadata(["a", "b", "c"]))),
        "has different class names from",
    ),
    "malformed metadata": (
        replaced(VALID, table(0, 6).replace_schema_metadata({b"huggingface": b"{"})),
        "its `huggingface` metadata is malformed",
    ),
    "no row": (replaced(VALID, table(0, 0)), "its validation files have no rows"),
    "words": (lambda f: (f / "data" / VALID).write_text("words"), "valid-00000-of-00001.parquet: cannot be read"),
    "an empty file": (lambda f: (f / "data" / VALID).write_text(""), "cannot be read"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_give_one_line(hub, case):
    change, reason = REFUSED[case]
    change(hub)
    with pytest.raises(InputError, match=reason) as caught:
        open_parts(str(hub))
    assert "\n" not in str(caught.value)
    assert str(hub) in str(caught.value)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_gives_one_line(hub, kept):
    path = hub / "data" / SHARD
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(InputError, match=rf"{SHARD}: cannot be read") as caught:
        open_parts(str(hub))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(20))
def test_a_changed_byte_gives_one_line_or_changes_nothing(hub, seed):
    """In a file whose pages have checksums."""
    path = hub / "data" / SHARD
    write(path, table(0, 13), write_page_checksum=True)
    content = bytearray(path.read_bytes())
    content[np.random.default_rng(seed).integers(len(content))] ^= 255
    path.write_bytes(content)
    try:
        train = open_parts(str(hub))["train"]
    except InputError as error:
        said = str(error)
    else:
        said = ""
        assert [train[i].image for i in range(30)] == IMAGES
    assert "\n" not in said


def test_an_implausible_label(tmp_path):
    images = {"image": pa.array(IMAGES[:2]), "label": pa.array([0, 10**12])}
    write(tmp_path / "train.parquet", pa.table(images))
    with pytest.raises(InputError, match="the label 1000000000000 exceeds the number of images"):
        open_parts(str(tmp_path))


def test_no_more_memory_is_used_than_allowed(hub, monkeypatch):
    """Identical images take little space in a file, as its dictionary, but much memory."""
    image = pa.array([{"bytes": IMAGES[0], "path": None}] * 30, STRUCT)
    write(hub / "data" / VALID, table(image=image))
    monkeypatch.setattr(reader, "MAX_HELD", 30 * len(IMAGES[0]) // 2)
    with pytest.raises(InputError, match="MiB of images that are held in memory"):
        open_parts(str(hub))
