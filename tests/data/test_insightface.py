# SPDX-License-Identifier: Apache-2.0
"""InsightFace records: both layouts and label forms, split frames, and inconsistent files."""

from __future__ import annotations

import pickle
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.decode import decode
from adaptface_jax.data.sources import recordio
from adaptface_jax.data.sources.insightface import InsightFaceSource
from adaptface_jax.data.sources.recordio import RecordFile

from .packing import MAGIC, encoded, frame, header, identity_payloads, picture, write_records

# Labels start anywhere and skip; the classes are their ranks.
PEOPLE = {9.0: [b"a", b"bb"], 4.0: [b"ccc"], 21.0: [b"dddd", b"eeeee", b"f"]}
FLAT = [(3, header(9.0) + b"a"), (0, header(4.0) + b"b"), (7, header((9.0, 0.0)) + b"c")]


def contents(source) -> list[tuple[bytes, int]]:
    return [(source[i].image, source[i].label) for i in range(len(source))]


def test_a_set_written_by_mxnet(shared_data):
    source = InsightFaceSource(shared_data / "att_faces" / "packed")
    assert (len(source), source.num_classes) == (300, 30)
    np.testing.assert_array_equal(source.labels, np.repeat(np.arange(30), 10))
    for index in (0, 10, 299):  # both label forms
        record = source[index]
        assert decode(record.image, record.key).shape == (112, 112, 3)
        assert record.label == index // 10


def test_identity_layout(tmp_path):
    source = InsightFaceSource(write_records(tmp_path, identity_payloads(PEOPLE)))
    assert contents(source) == [(b"a", 1), (b"bb", 1), (b"ccc", 0), (b"dddd", 2), (b"eeeee", 2), (b"f", 2)]
    assert source.num_classes == 3
    assert source.labels.dtype == np.int32
    assert source[2].key == source.key(2) == "record 3"
    assert list(source.class_names) == ["4", "9", "21"]
    assert "labels 4 to 21 with gaps" in source.description


def test_flat_layout_uses_every_key_in_order(tmp_path):
    source = InsightFaceSource(write_records(tmp_path, FLAT))
    assert contents(source) == [(b"b", 0), (b"a", 1), (b"c", 1)]


@pytest.mark.parametrize("layout", ["identity", "flat", "without keys", "in parts"])
def test_without_an_index_the_records_say_their_keys(tmp_path, layout):
    payloads = identity_payloads(PEOPLE)
    if layout != "identity":
        image = MAGIC + b"pixels" if layout == "in parts" else b"pixels"
        keys = [0] * 4 if layout == "without keys" else [2, 0, 3, 1]
        payloads = [(key, header(float(number // 2), key) + image) for number, key in enumerate(keys)]
        payloads = list(enumerate(payload for _, payload in payloads)) if layout == "without keys" else payloads
    folder = write_records(tmp_path, payloads)
    before = InsightFaceSource(folder)
    (folder / "train.idx").unlink()
    after = pickle.loads(pickle.dumps(InsightFaceSource(folder)))
    assert contents(after) == contents(before) and [*after.class_names] == [*before.class_names]
    assert "no train.idx: keys from the records" in after.description
    (folder / "train.rec").write_bytes((folder / "train.rec").read_bytes()[:-3])
    with pytest.raises(InputError, match=r"train\.rec: has no whole frame at byte \d+"):
        InsightFaceSource(folder)


def test_an_index_may_have_spaces_and_a_pointer_is_named(tmp_path):
    index = write_records(tmp_path, FLAT) / "train.idx"
    index.write_text(index.read_text().replace("\t", "  "))
    assert contents(InsightFaceSource(tmp_path)) == [(b"b", 0), (b"a", 1), (b"c", 1)]
    for name in ("train.rec", "train.idx"):
        (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n" * 3)
        with pytest.raises(InputError, match=r"is the git-LFS pointer of a large file; download the file itself"):
            InsightFaceSource(tmp_path)


def test_keys_beyond_exact_floats_are_taken_from_the_index(tmp_path):
    # Above 2 ** 24 every second key has no float32: each range written here is rounded.
    payloads = identity_payloads(PEOPLE, first_key=(1 << 24) + 1)
    source = InsightFaceSource(write_records(tmp_path, payloads))
    assert contents(source) == [(b"a", 1), (b"bb", 1), (b"ccc", 0), (b"dddd", 2), (b"eeeee", 2), (b"f", 2)]


def test_an_image_outside_every_range_keeps_its_own_label(tmp_path):
    payloads = dict(identity_payloads(PEOPLE))
    payloads[8] = header((3.0, 3.0))  # the second identity lost its image
    assert contents(InsightFaceSource(write_records(tmp_path, payloads.items())))[2] == (b"ccc", 0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.one_of(st.just(MAGIC), st.binary(max_size=9)), max_size=8).map(b"".join), min_size=1))
@example([MAGIC * 3, b"", b"abc" + MAGIC, MAGIC])
def test_any_payload_survives_framing(tmp_path_factory, payloads):
    folder = tmp_path_factory.getbasetemp() / "frames"
    write_records(folder, enumerate(payloads))
    records = RecordFile(folder / "train.rec", folder / "train.idx")
    assert [records.read(key) for key in range(len(payloads))] == payloads


LABELS = st.floats(0, 2**20, width=32) | st.lists(st.floats(-3, 2**20, width=32), min_size=1, max_size=4).map(tuple)
IMAGES = st.sampled_from([b"", b"x", b"image" * 40, MAGIC + b"tail", b"1234" + 2 * MAGIC])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(LABELS, IMAGES), min_size=1, max_size=20), st.randoms(), st.booleans(), st.booleans())
def test_contents_read_by_block_are_those_of_each_record(tmp_path_factory, records, random, apart, small):
    payloads = [(key, header(labels) + image) for key, (labels, image) in enumerate(records)]
    random.shuffle(payloads)  # keys need not ascend with the places in the file
    folder = write_records(tmp_path_factory.mktemp("set"), payloads)
    file = RecordFile(folder / "train.rec", folder / "train.idx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recordio, "_NEAR", 0 if apart else 1 << 14)
        patch.setattr(recordio, "_BLOCK", 100 if small else 1 << 22)
        found = file.contents(file.keys)
    for key, count, pair, has_image in zip(file.keys.tolist(), *found, strict=True):
        labels, image = file.read_image(key)
        assert (count, has_image) == (len(labels), bool(image))
        np.testing.assert_array_equal(pair, np.float32([*labels, np.nan][:2]))


def test_one_source_serves_threads_and_survives_pickling(tmp_path):
    files = [encoded(picture(i, 16, 16)) for i in range(20)]
    source = InsightFaceSource(write_records(tmp_path, identity_payloads({0.0: files[:10], 1.0: files[10:]})))
    copy = pickle.loads(pickle.dumps(source))
    with ThreadPoolExecutor(8) as pool:
        for reader in (source, copy):
            found = list(pool.map(lambda i: reader[i].image, list(range(20)) * 20))  # noqa: B023
            assert found == files * 20


def replaced(payloads, key, payload):
    return [(k, payload if k == key else p) for k, p in payloads]


GOOD = identity_payloads(PEOPLE)
LYING = {
    "an identity beyond the images": replaced(GOOD, 7, header((1.0, 50.0))),
    "an identity that ends before it starts": replaced(GOOD, 7, header((3.0, 1.0))),
    "an image that two identities claim": replaced(GOOD, 8, header((2.0, 4.0))),
    "an identity that is no pair": replaced(GOOD, 8, header((1.0, 2.0, 3.0))),
    "a range that is no number": replaced(GOOD, 8, header((float("nan"), 4.0))),
    "a range of fractions": replaced(GOOD, 8, header((3.5, 4.0))),
    "identities that are not in the index": [(k, p) for k, p in GOOD if k != 9],
    "identities that end before they start": replaced(GOOD, 0, header((7.0, 3.0))),
    "a label that is no number": [(1, header(float("nan")) + b"x"), (2, header(1.0) + b"y")],
    "a label of a fraction": [(1, header(0.5) + b"x"), (2, header(1.0) + b"y")],
    "a payload shorter than its header": [(1, b"short"), (2, header(1.0) + b"y")],
    "more labels than bytes": [(1, struct.pack("<IfQQ", 1 << 30, 0, 0, 0) + b"x")],
    "no images": [(0, header((1.0, 1.0)))],
}


@pytest.mark.parametrize("payloads", LYING.values(), ids=LYING.keys())
def test_inconsistent_records(tmp_path, payloads):
    refuse(write_records(tmp_path, payloads))


def test_an_image_that_contradicts_its_identity_is_found_when_read(tmp_path):
    source = InsightFaceSource(write_records(tmp_path, replaced(GOOD, 2, header(4.0) + b"bb")))
    with pytest.raises(InputError, match="record 2: has label 4, its identity has 9"):
        source[1]


def damaged(name, change):
    return pytest.param(name, change, id=f"{name}: {change.__name__.removeprefix('_')}")


def _missing(_):
    return None


def _empty(_):
    return b""


def _cut(content):
    return content[: len(content) // 2]


def _of_words(_):
    return b"one two\n"


def _of_one_column(_):
    return b"1\n2\n"


def _repeating_a_key(content):
    return content + content


def _negative(_):
    return b"0\t-8\n"


def _overflowing(_):
    return b"0\t99999999999999999999999\n"


def _beyond_the_end(_):
    return b"0\t123456789\n"


def _between_frames(content):
    return content.replace(b"\t0\n", b"\t4\n")


def _with_a_wrong_magic(content):
    return b"\0" + content[1:]


def _with_a_lying_length(content):
    return content[:4] + struct.pack("<I", (1 << 29) - 1) + content[8:]


def _starting_in_the_middle(content):
    return content[:4] + struct.pack("<I", 2 << 29 | 32) + content[8:]


def _with_an_unknown_part(content):
    return content[:4] + struct.pack("<I", 7 << 29 | 32) + content[8:]


def _that_never_ends(_):
    return frame(MAGIC + b"tail")[: len(frame(b""))] * 20


DAMAGE = [
    *(damaged("train.rec", change) for change in (_empty, _cut, _with_a_wrong_magic, _with_a_lying_length)),
    *(damaged("train.rec", change) for change in (_starting_in_the_middle, _with_an_unknown_part, _that_never_ends)),
    *(damaged("train.idx", change) for change in (_empty, _of_words, _of_one_column, _repeating_a_key)),
    *(damaged("train.idx", change) for change in (_negative, _overflowing, _beyond_the_end, _between_frames)),
    *(damaged("property", change) for change in (_empty, _of_words)),
]


@pytest.mark.parametrize(("name", "change"), DAMAGE)
def test_corrupted_files(tmp_path, name, change):
    file = write_records(tmp_path, GOOD) / name
    content = change(file.read_bytes())
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    refuse(tmp_path)


def test_a_missing_record_file(tmp_path):
    (write_records(tmp_path, GOOD) / "train.rec").unlink()
    refuse(tmp_path)


def refuse(folder):
    with pytest.raises(InputError, match=str(folder)) as caught:
        contents(InsightFaceSource(folder))
    assert "\n" not in str(caught.value)
