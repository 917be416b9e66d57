"""A set with attributes works like one with classes: batches, digests, selections, evaluation."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.bad_records import BadRecords
from adaptface_jax.data.pipeline import batches, evaluation_batches
from adaptface_jax.data.record import NO_CLASS, Images, Record, Source, labels_digest
from adaptface_jax.data.sources.selection import Selection

SIZE = 8


class Counted(Source):
    """Image i has the value i; its attributes are the binary digits of i."""

    def __init__(self, count: int = 8, broken: int = -1):
        self.broken = broken
        digits = (np.arange(count)[:, None] >> np.arange(3) & 1).astype(np.int32)
        super().__init__(digits, ("one", "two", "four"), "counted")

    def __getitem__(self, index: int) -> Record:
        image = b"" if index == self.broken else np.full((SIZE, SIZE, 3), index, np.uint8)
        return Record(image, NO_CLASS, self.key(index))

    def key(self, index: int) -> str:
        return f"number {index}"


def test_a_batch_holds_every_attribute_of_its_images():
    source = Counted()
    assert source.multi_label and source.num_classes == 3
    for batch in itertools.islice(batches(source, 4, SIZE, seed=3, threads=0), 4):
        assert batch["label"].shape == (4, 3) and batch["label"].dtype == np.int32
        assert (batch["label"] @ [1, 2, 4]).tolist() == batch["image"][:, 0, 0, 0].tolist()


def test_a_bad_record_keeps_its_row():
    bad = BadRecords(None, 5)
    (batch,) = itertools.islice(batches(Counted(broken=2), 8, SIZE, seed=3, threads=0, bad_records=bad), 1)
    assert len(bad) == 1
    assert sorted((batch["label"] @ [1, 2, 4]).tolist()) == list(range(8))
    assert batch["weight"].sum() == 7


def test_digests_know_the_attributes():
    source, other = Counted(), Counted()
    other.labels = source.labels[:, ::-1]
    assert labels_digest(source) == labels_digest(Counted()) != labels_digest(other)
    assert source.keys_sha256 == other.keys_sha256


def test_a_selection_is_some_records_in_the_order_given():
    chosen = pickle.loads(pickle.dumps(Selection(Counted(), np.array([5, 0, 3]), "three of them")))
    assert len(chosen) == 3
    assert (chosen.labels @ [1, 2, 4]).tolist() == [5, 0, 3]
    assert (
        [chosen[i].key for i in range(3)] == [chosen.key(i) for i in range(3)] == ["number 5", "number 0", "number 3"]
    )
    assert [chosen[i].image[0, 0, 0] for i in range(3)] == [5, 0, 3]
    assert chosen.description == "counted (three of them)"
    assert chosen.class_names == ("one", "two", "four")


@pytest.mark.parametrize("threads", [0, 2])
def test_evaluation_reads_a_source_in_order_and_names_what_it_cannot_read(threads):
    images = Images(Counted(6))
    found = list(evaluation_batches(images, 4, SIZE, keys=images.keys, threads=threads))
    assert [count for _, count in found] == [4, 2]
    assert np.concatenate([batch for batch, _ in found])[:6, 0, 0, 0].tolist() == list(range(6))
    images = Images(Counted(6, broken=5))
    assert len(images) == len(images.keys) == 6
    with pytest.raises(InputError, match=r"^counted: number 5: cannot decode"):
        list(evaluation_batches(images, 4, SIZE, keys=images.keys, threads=threads))
