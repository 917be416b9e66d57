"""The order of training is a function of seed and step; evaluation keeps the order it is given."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from PIL import Image

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.bad_records import BadRecords
from adaptface_jax.data.pipeline import batches, evaluation_batches, steps_per_epoch
from adaptface_jax.data.record import Record

from .packing import encoded, picture

SIZE = 8


@dataclasses.dataclass
class Numbered:
    """Record i is an image of value i and class i % 3."""

    size: int
    num_classes: int = 3
    class_names: tuple[str, ...] = ("a", "b", "c")
    description: str = "numbered images"
    broken: int = -1
    domains: np.ndarray | None = None

    @property
    def labels(self) -> np.ndarray:
        return np.arange(self.size, dtype=np.int32) % 3

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Record:
        image = np.full((SIZE, SIZE, 3), index, np.uint8)
        return Record(b"" if index == self.broken else image, index % 3, self.key(index))

    def key(self, index: int) -> str:
        return f"numbered/{index}"


def made(source=None, count=12, **options):
    options = {"seed": 0, "batch_size": 4, "image_size": SIZE, "threads": 0} | options
    iterator = batches(source or Numbered(11), **options)
    taken = list(itertools.islice(iterator, count))
    iterator.close()
    return taken


def order(taken) -> list[list[int]]:
    return [batch["image"][:, 0, 0, 0].tolist() for batch in taken]


def test_a_batch_is_uint8_images_with_labels():
    for batch in made():
        number = batch["image"][:, 0, 0, 0].astype(int)
        assert batch["image"].shape == (4, SIZE, SIZE, 3)
        assert batch["image"].dtype == np.uint8
        assert batch["weight"].dtype == np.float32 and (batch["weight"] == 1).all()
        assert batch["label"].dtype == np.int32
        np.testing.assert_array_equal(batch["label"], number % 3)
        assert set(batch) == {"image", "label", "weight"}


def test_the_gates_should_share_an_image_evenly_between_its_domains():
    source = Numbered(11)
    source.domains = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 1], [1, 1, 1]], np.uint8)[np.arange(11) % 4]
    for batch in made(source):
        number = batch["image"][:, 0, 0, 0].astype(int)
        assert batch["domain"].dtype == np.float32
        expected = np.array([[0, 0, 0], [1, 0, 0], [0, 0.5, 0.5], [1 / 3] * 3], np.float32)
        np.testing.assert_array_equal(batch["domain"], expected[number % 4])


def test_nothing_is_known_of_the_domain_of_a_bad_record():
    source = Numbered(8)
    source.domains = np.ones((8, 2), np.uint8)
    source.broken = 5
    for batch in made(source, bad_records=BadRecords(None, 1)):
        np.testing.assert_array_equal(batch["domain"], np.outer(batch["weight"], [0.5, 0.5]))


def test_an_epoch_shows_each_image_at_most_once_and_drops_the_short_batch():
    source = Numbered(11)
    assert steps_per_epoch(source, 4) == 2
    taken = order(made(source, count=60))
    epochs = [sum(taken[i : i + 2], []) for i in range(0, 60, 2)]  # noqa: RUF017
    assert all(len(set(epoch)) == 8 for epoch in epochs)
    # What one epoch drops another shows.
    assert set().union(*epochs) == set(range(11))


def test_epochs_are_shuffled_anew():
    epochs = [tuple(batch) for batch in order(made(Numbered(64), batch_size=64, count=5))]
    assert len(set(epochs)) == 5
    assert all(sorted(epoch) == list(range(64)) for epoch in epochs)
    assert all(epoch != tuple(range(64)) for epoch in epochs)


def test_the_seed_decides_the_order():
    source = Numbered(64)
    assert order(made(source)) == order(made(source))
    # Another seed does not give the same order even one epoch later.
    epochs = {seed: order(made(source, batch_size=64, count=4, seed=seed)) for seed in range(4)}
    assert len({tuple(epoch) for epochs in epochs.values() for epoch in epochs}) == 16


@pytest.mark.parametrize("threads", [1, 3, None])
def test_the_number_of_threads_does_not(threads):
    assert order(made(threads=threads)) == order(made())


@pytest.mark.parametrize("step", [1, 2, 7, 100])
def test_starting_at_a_step_is_skipping_to_it(step):
    assert order(made(start_step=step, count=5)) == order(made(count=step + 5))[step:]


def test_the_processes_rows_make_up_the_global_batch():
    whole = made()
    shards = [made(process_index=index, process_count=2) for index in range(2)]
    for step, batch in enumerate(whole):
        for name, rows in batch.items():
            np.testing.assert_array_equal(np.concatenate([shard[step][name] for shard in shards]), rows)


def test_images_of_another_size_are_resized_to_the_stored_one():
    batch = made(image_size=5, count=1)[0]
    assert batch["image"].shape == (4, 5, 5, 3)


def test_batches_that_cannot_be_made():
    with pytest.raises(InputError, match="12 is more than the 11 images of numbered images"):
        made(batch_size=12)
    with pytest.raises(InputError, match="4 is not a positive multiple of the 3 processes"):
        made(process_count=3)
    with pytest.raises(InputError, match="0 is not a positive multiple"):
        made(batch_size=0)


@pytest.mark.parametrize("threads", [0, 2])
def test_a_corrupt_record_is_named(threads):
    with pytest.raises(InputError, match=r"^numbered images: numbered/5: cannot decode"):
        made(Numbered(11, broken=5), threads=threads)


def test_a_real_set_trains(shared_data):
    from adaptface_jax.data.sources.from_path import open_source

    source = open_source(str(shared_data / "att_faces" / "packed"), max_identities=4, max_per_identity=3)
    (batch,) = itertools.islice(batches(source, 12, seed=1), 1)
    assert batch["image"].shape == (12, 112, 112, 3)
    assert sorted(batch["label"].tolist()) == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3


def test_evaluation_keeps_the_order_and_pads_the_last_batch():
    images = [encoded(picture(i, 6, 6)) if i % 2 else picture(i, 6, 6) for i in range(10)]
    taken = list(evaluation_batches(images, 4, 6))
    assert [count for _, count in taken] == [4, 4, 2]
    assert all(batch.shape == (4, 6, 6, 3) and batch.dtype == np.uint8 for batch, _ in taken)
    found = np.concatenate([batch[:count] for batch, count in taken])
    np.testing.assert_array_equal(found, [picture(i, 6, 6) for i in range(10)])
    assert not taken[-1][0][2:].any()


def test_evaluation_of_nothing_and_of_other_sizes():
    assert list(evaluation_batches([], 4)) == []
    ((batch, count),) = evaluation_batches([picture(0, 20, 30)], 1)
    assert count == 1
    expected = Image.fromarray(picture(0, 20, 30)).resize((112, 112), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(batch[0], np.asarray(expected))


def test_a_corrupt_image_of_an_evaluation_is_named():
    images = [picture(0), b"broken"]
    with pytest.raises(InputError, match=r"^image 1: cannot decode"):
        list(evaluation_batches(images, 2))
    with pytest.raises(InputError, match=r"^b\.png: cannot decode"):
        list(evaluation_batches(images, 2, keys=["a.png", "b.png"]))
