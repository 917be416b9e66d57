"""Packed shards are the source in another form: same records, same order, same batches; packing survives any
interruption."""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import shutil
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptface_jax.core.errors import InputError
from adaptface_jax.data import packing as shards
from adaptface_jax.data import shard_writing
from adaptface_jax.data.packing import Limit, pack
from adaptface_jax.data.pipeline import batches
from adaptface_jax.data.record import Record, labels_digest
from adaptface_jax.data.sources.array_record import decode_record, encode_record
from adaptface_jax.data.sources.from_path import open_source
from adaptface_jax.pack import __main__ as command
from adaptface_jax.training.run import describe_source
from tests.children import started, until
from tests.running import call

from .packing import encoded, header, identity_payloads, picture, write_records

IMAGES = {f"p{person}": [encoded(picture(10 * person + i, 8, 8)) for i in range(2 + person)] for person in range(4)}
COUNT = sum(len(images) for images in IMAGES.values())


@pytest.fixture
def folders(tmp_path):
    for name, images in IMAGES.items():
        (tmp_path / "faces" / name).mkdir(parents=True)
        for i, image in enumerate(images):
            (tmp_path / "faces" / name / f"{i}.png").write_bytes(image)
    return tmp_path / "faces"


def packed(source, folder, **limit):
    pack(source, folder, Limit(**(limit or {"shards": 3})))
    return open_source(str(folder))


def taken(source, count=6):
    iterator = batches(source, 4, 8, seed=3, threads=0)
    return list(itertools.islice(iterator, count))


def files(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_same_records(one, other):
    assert len(one) == len(other)
    assert list(one.class_names) == list(other.class_names)
    np.testing.assert_array_equal(one.labels, other.labels)
    assert [one.key(i) for i in range(len(one))] == [other.key(i) for i in range(len(other))]
    for i in range(len(one)):
        assert one[i] == other[i]


def test_folders_records_and_shards_give_the_same_batches(folders, tmp_path):
    people = {float(i): images for i, images in enumerate(IMAGES.values())}
    records = write_records(tmp_path / "records", identity_payloads(people), classes=4)
    forms = [open_source(str(folders)), open_source(str(records))]
    forms += [packed(form, tmp_path / f"shards{i}") for i, form in enumerate(forms)]
    assert [type(form).__name__ for form in forms] == [
        "FolderSource", "InsightFaceSource", "ArrayRecordSource", "ArrayRecordSource",
    ]  # fmt: skip
    assert_same_records(forms[0], forms[2])
    assert_same_records(forms[1], forms[3])
    expected = taken(forms[0])
    for form in forms[1:]:
        for batch, other in zip(expected, taken(form), strict=True):
            for name in batch:
                np.testing.assert_array_equal(batch[name], other[name])
    # What resuming compares is the same too; the files may move.
    one, other = describe_source(forms[0]), describe_source(forms[2])
    assert {**one, "source": ""} == {**other, "source": ""}


def test_a_set_written_by_mxnet_keeps_its_bytes(shared_data, tmp_path):
    source = open_source(str(shared_data / "att_faces" / "packed"))
    again = packed(source, tmp_path / "shards", megabytes=1)
    assert_same_records(source, again)
    assert len(list((tmp_path / "shards").glob("*.array_record"))) == 2
    assert_same_records(
        open_source(str(shared_data / "att_faces" / "packed"), 3, 4), open_source(str(tmp_path / "shards"), 3, 4)
    )


def test_generated_images_are_packed_as_png_with_their_conditions(tmp_path):
    source = open_source("synthetic:identities=2,images=3")
    pack(source, tmp_path / "shards", Limit(shards=1))
    domains = "pose:condition=pose;age:condition=age;light:condition=light"
    again = open_source(str(tmp_path / "shards"), domains=domains)
    for batch, other in zip(taken(source, 2), taken(again, 2), strict=True):
        for name in batch:
            np.testing.assert_array_equal(batch[name], other[name])
    assert again.domain_names == source.domain_names and taken(again, 1)[0]["domain"].shape == (4, 3)


def test_odd_file_names_survive(tmp_path):
    for name in ("Zoë", "two\nlines", "b\udcff"):
        (tmp_path / "faces" / name).mkdir(parents=True)
        (tmp_path / "faces" / name / "a\nb.png").write_bytes(encoded(picture(0, 4, 4)))
    source = open_source(str(tmp_path / "faces"))
    assert_same_records(source, packed(source, tmp_path / "shards"))


TABLE = 'file,pose,note\np0/0.png,left,\np3/4.png,frontal,"quoted, and so"\n'


@pytest.fixture
def labeled(folders):
    """The folders, with labels of two images written as by a spreadsheet."""
    (folders / "labels.csv").write_text(TABLE.replace(",", ";").replace("; and", ", and"), "utf-8-sig", newline="\r\n")
    return folders


def test_labels_are_packed_whole_and_found_again(labeled, tmp_path, capsys):
    assert call(command, labeled, tmp_path / "shards", "--shards=2") == 0
    assert f"labels    pose, note for 2 images ({labeled / 'labels.csv'})" in capsys.readouterr().out
    assert (tmp_path / "shards" / "labels.csv").read_text() == TABLE
    again = open_source(str(tmp_path / "shards"), domains="pose=left; ordinary")
    assert again.domains[0].tolist() == [1, 0] and again.domains[COUNT - 1].tolist() == [0, 1]
    assert again.domains.sum() == 2


def test_other_labels_are_another_pack(labeled, folders, tmp_path):
    spec, shards_folder = str(labeled), tmp_path / "shards"
    source = open_source(spec, labels=f"{spec}/labels.csv")
    pack(source, shards_folder, Limit(shards=2))
    before = files(shards_folder)
    (labeled / "labels.csv").write_text("path,pose\np0/0.png,right\n")
    for other in (open_source(spec, labels=f"{spec}/labels.csv"), open_source(spec)):
        with pytest.raises(InputError, match="holds another pack \\(table_sha256 was "):
            pack(other, shards_folder, Limit(shards=2))
    assert files(shards_folder) == before


def test_corrupted_labels_of_a_pack_are_refused_until_repacked(labeled, tmp_path):
    source = open_source(str(labeled), labels=str(labeled / "labels.csv"))
    table = tmp_path / "shards" / "labels.csv"
    pack(source, table.parent, Limit(shards=2))
    before = files(table.parent)
    table.write_text(TABLE.replace("left", "right"))
    with pytest.raises(InputError, match=r"labels\.csv: its sha256 is not the one in dataset\.json"):
        open_source(str(table.parent))
    table.unlink()
    with pytest.raises(InputError, match=r"labels\.csv: cannot be read"):
        open_source(str(table.parent))
    assert pack(source, table.parent, Limit(shards=2)).kept == 2
    assert files(table.parent) == before


def test_a_pack_without_labels_takes_a_table_that_is_put_into_it(folders, tmp_path):
    source = packed(open_source(str(folders)), tmp_path / "shards")
    assert source.label_columns == ()
    (tmp_path / "shards" / "labels.csv").write_text(TABLE)
    again = open_source(str(tmp_path / "shards"), domains="pose=left; turned:pose=frontal")
    assert again.domains.sum(axis=0).tolist() == [1, 1]
    assert pack(source, tmp_path / "shards", Limit(shards=3)).kept == 3
    assert (tmp_path / "shards" / "labels.csv").read_text() == TABLE
    (tmp_path / "empty").mkdir()
    shutil.copy(tmp_path / "shards" / "labels.csv", tmp_path / "empty")
    with pytest.raises(InputError, match=r"'labels\.csv', which no pack wrote"):
        pack(source, tmp_path / "empty", Limit(shards=3))


@given(st.binary(max_size=20), st.integers(0, 2**31 - 1), st.text(max_size=9))
def test_the_binary_form_of_a_record(image, label, key):
    record = Record(image, label, key.replace("\0", ""))
    try:
        data = encode_record(record, image)
    except UnicodeEncodeError:
        return  # a lone surrogate that no file name gives
    assert decode_record(data) == record
    for broken in (data[:15], b"X" + data[1:], data[:4] + b"\2\0" + data[6:], data[:6] + b"\xff\xff" + data[8:]):
        with pytest.raises(ValueError):
            decode_record(broken[: 16 + len(image)])


def test_shards_of_equal_counts_and_of_a_size(folders, tmp_path):
    source = open_source(str(folders))
    pack(source, tmp_path / "three", Limit(shards=3))
    counts = [shard["records"] for shard in shards.json.loads((tmp_path / "three/dataset.json").read_text())["shards"]]
    assert sum(counts) == COUNT and max(counts) - min(counts) <= 1 and len(counts) == 3
    with pytest.raises(InputError, match=f"expected 1 to {COUNT}"):
        pack(source, tmp_path / "many", Limit(shards=COUNT + 1))


class Dying:
    """A source that ends the packing at its n-th read."""

    def __init__(self, source, reads: int, error: BaseException):
        self._source, self._reads, self._error = source, reads, error

    def __getattr__(self, name):
        return getattr(self._source, name)

    def __len__(self):
        return len(self._source)

    def __getitem__(self, index):
        self._reads -= 1
        if self._reads < 0:
            raise self._error
        return self._source[index]


@pytest.mark.parametrize("reads", range(COUNT + 1))
def test_interrupted_anywhere_the_same_files_come_out(folders, tmp_path, reads):
    source = open_source(str(folders))
    pack(source, tmp_path / "whole", Limit(shards=3))
    if reads < COUNT:
        with pytest.raises(KeyboardInterrupt):
            pack(Dying(source, reads, KeyboardInterrupt()), tmp_path / "again", Limit(shards=3))
        with pytest.raises(InputError, match="expected a complete pack"):
            open_source(str(tmp_path / "again"))
    result = pack(source, tmp_path / "again", Limit(shards=3))
    assert files(tmp_path / "again") == files(tmp_path / "whole")
    assert result.kept == sum(reads >= end for end in (COUNT // 3, 2 * COUNT // 3, COUNT) if reads < COUNT)


@pytest.mark.parametrize("renames", range(1, 10))
def test_interrupted_after_any_rename_the_same_files_come_out(labeled, tmp_path, monkeypatch, renames):
    source = open_source(str(labeled), labels=str(labeled / "labels.csv"))
    pack(source, tmp_path / "whole", Limit(shards=3))
    real, left = os.replace, [renames]

    def replace(old, new):
        real(old, new)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with contextlib.suppress(KeyboardInterrupt, FileNotFoundError):
            pack(source, tmp_path / "again", Limit(shards=3))
    pack(source, tmp_path / "again", Limit(shards=3))
    assert files(tmp_path / "again") == files(tmp_path / "whole")


def test_several_processes_make_the_same_files(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "WORTH_STARTING", 1)
    monkeypatch.setattr(shard_writing, "CHUNK", 2)
    source, shown = open_source(str(folders)), []
    pack(source, tmp_path / "one", Limit(shards=4))
    assert pack(source, tmp_path / "three", Limit(shards=4), shown.append, processes=3).shards == 4
    assert files(tmp_path / "three") == files(tmp_path / "one") and shown == list(range(1, COUNT + 1))
    (folders / "p3" / "4.png").unlink()
    with pytest.raises(InputError, match=r"p3/4\.png: cannot be read"):
        pack(source, tmp_path / "broken", Limit(shards=4), processes=3)
    left = set(files(tmp_path / "broken"))
    assert "unfinished.json" in left and not [name for name in left if name.startswith(".")]
    (folders / "p3" / "4.png").write_bytes(IMAGES["p3"][4])
    pack(source, tmp_path / "broken", Limit(shards=4))
    assert files(tmp_path / "broken") == files(tmp_path / "one")


def test_killed_outright_the_same_files_come_out(tmp_path):
    spec, whole, again = "synthetic:identities=6,images=4", tmp_path / "whole", tmp_path / "again"
    pack(open_source(spec), whole, Limit(shards=6))
    words = [sys.executable, "-m", "adaptface_jax.pack", spec, str(again), "--shards=6"]
    with started(*words) as packing:
        until(lambda: len(list(again.glob("shard-*"))) >= 2, packing)
    (again / ".shard-00003.array_record.part").write_bytes(b"half")
    pack(open_source(spec), again, Limit(shards=6))
    assert files(again) == files(whole)


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_repacking_repairs_a_corrupted_shard_and_keeps_the_others(folders, tmp_path, damage):
    source, folder = open_source(str(folders)), tmp_path / "shards"
    pack(source, folder, Limit(shards=3))
    before = files(folder)
    assert pack(source, folder, Limit(shards=3)).kept == 3
    shard = folder / "shard-00001.array_record"
    content = bytearray(shard.read_bytes())
    content[70_000] ^= 1
    {
        "flip": lambda: shard.write_bytes(content),
        "cut": lambda: shard.write_bytes(content[:-1]),
        "remove": shard.unlink,
    }[damage]()
    assert pack(source, folder, Limit(shards=3)).kept == 2
    assert files(folder) == before


def test_another_pack_or_other_files_are_not_touched(folders, tmp_path):
    source, folder = open_source(str(folders)), tmp_path / "shards"
    pack(source, folder, Limit(shards=3))
    before = files(folder)
    (folders / "p0" / "new.png").write_bytes(encoded(picture(99)))
    with pytest.raises(InputError, match=r"holds another pack \(records was 14, now 15\)"):
        pack(open_source(str(folders)), folder, Limit(shards=3))
    with pytest.raises(InputError, match="limit was"):
        pack(source, folder, Limit(shards=2))
    with pytest.raises(InputError, match="'p0', which no pack wrote"):
        pack(source, folders, Limit(shards=3))
    assert files(folder) == before


def test_a_record_that_changes_while_it_is_packed_is_named(folders, tmp_path):
    source = open_source(str(folders))
    (folders / "p1" / "1.png").unlink()
    with pytest.raises(InputError, match=r"p1/1\.png: cannot be read"):
        pack(source, tmp_path / "shards", Limit(shards=1))
    assert set(files(tmp_path / "shards")) == {"unfinished.json"}


def test_a_packed_set_may_move_and_travels_to_other_processes(folders, tmp_path):
    source = open_source(str(folders))
    pack(source, tmp_path / "shards", Limit(shards=2))
    shutil.move(tmp_path / "shards", tmp_path / "moved")
    shutil.rmtree(folders)
    moved = open_source(str(tmp_path / "moved"))
    assert (moved.keys_sha256, labels_digest(moved)) == (source.keys_sha256, labels_digest(source))
    again = pickle.loads(pickle.dumps(moved))
    assert again[3] == moved[3] and again.key(3) == "p1/1.png"


def test_records_with_several_labels_a_header(tmp_path):
    flat = [(i, header((float(i % 2), 0.5)) + encoded(picture(i, 4, 4))) for i in range(4)]
    source = open_source(str(write_records(tmp_path / "flat", flat)))
    assert_same_records(source, packed(source, tmp_path / "shards"))


def test_the_command(folders, tmp_path, capsys):
    assert call(command, folders, tmp_path / "shards", "--shards=2") == 0
    out = capsys.readouterr().out
    assert "14 images, 4 identities" in out and "packing 14/14" in out and "2 shards" in out
    assert call(command, folders, tmp_path / "shards", "--shards=2") == 0
    assert "2 kept from before" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["/nowhere", "DST"], "is neither a folder nor a list"),
        (["SRC"], "DST"),
        (["SRC", "DST", "--shards=0"], "--shards"),
        (["SRC", "DST", "--shard_mb=-1"], "--shard_mb"),
        (["SRC", "DST", "--shards=2", "--shard_mb=2"], "not allowed"),
        (["SRC", "SRC"], "which no pack wrote"),
        (["SRC", "SRC/p0/0.png"], "is a file; expected a folder"),
    ],
)
def test_bad_commands_give_one_line(folders, tmp_path, capsys, words, expected):
    places = {"SRC": str(folders), "DST": str(tmp_path / "shards"), "SRC/p0/0.png": str(folders / "p0/0.png")}
    assert call(command, *(places.get(word, word) for word in words)) == 2
    error = capsys.readouterr().err
    assert expected in error and error.count("\n") == 1
