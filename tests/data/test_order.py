# SPDX-License-Identifier: Apache-2.0
"""The order of training is Grain's, so that earlier runs resume with the order they began with."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grain
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adaptface_jax.data.order import BLOCK, Order, permuted


@given(st.integers(1, 2**33), st.integers(0, 2**32 - 1), st.data())
@example(65_537, 3, None)  # the last number needs one bit more than the domain has
@example(65_536, 3, None)
@example(2, 0, None)
@example(1, 0, None)
def test_a_permutation_is_grains(count, seed, data):
    numbers = {0, count - 1, *(data.draw(st.lists(st.integers(0, count - 1), max_size=20)) if data else ())}
    expected = grain.MapDataset.range(count).shuffle(seed)
    found = permuted(np.array(sorted(numbers)), count, seed)
    assert found.tolist() == [expected[number] for number in sorted(numbers)]


@pytest.mark.parametrize(
    ("count", "batch_size"),
    [(1000, 128), (10, 10), (3 * BLOCK + 77, 96), (2 * BLOCK, 2 * BLOCK - 5)],
    ids=["a short epoch", "one batch", "several blocks", "a batch larger than a block"],
)
def test_batches_and_epochs_are_grains(count, batch_size):
    seed = int(np.random.SeedSequence(7).generate_state(1)[0])
    expected = grain.MapDataset.range(count).shuffle(seed).batch(batch_size, drop_remainder=True).repeat()
    order, epoch = Order(count, batch_size, 7), count // batch_size
    for step in sorted({0, epoch - 1, epoch, epoch + epoch // 2, 5 * epoch + epoch // 3, BLOCK // batch_size}):
        np.testing.assert_array_equal(order[step], expected[step])


def test_an_epoch_has_each_record_once_at_most():
    order = Order(20_001, 100, 0)
    seen = np.concatenate([order[step] for step in range(200)])
    assert len(np.unique(seen)) == 20_000


def test_threads_may_share_it():
    order, alone = Order(50_000, 64, 1), Order(50_000, 64, 1)
    steps = np.random.default_rng(0).permutation(1500).tolist()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(order.__getitem__, steps))
    for step, numbers in zip(steps[:100], found, strict=False):
        np.testing.assert_array_equal(numbers, alone[step])
