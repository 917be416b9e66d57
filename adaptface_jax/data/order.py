# SPDX-License-Identifier: Apache-2.0
"""The order of a source in training: a keyed permutation for each epoch, of any part without the rest.

It is the one of Grain's `MapDataset.shuffle`, number for number (held by tests), with which earlier runs resume; but of
thousands of numbers at a time. One by one they take 8 to 17 us each under Python's lock, more than all else that a
reader on many cores does with an image that a process decodes.

Sources: the cipher Simon (eprint.iacr.org/2013/404) in four rounds, walked until a number is in range (Black and
Rogaway, Ciphers with Arbitrary Finite Domains); keys as C++'s `std::seed_seq` makes them ([rand.util.seedseq]).
"""

from __future__ import annotations

import functools
import math
import threading

import numpy as np

BLOCK = 8192  # numbers that are permuted at a time, at least
ROUNDS, SMALLEST = 4, 16  # bits of the smallest domain
WORD = 0xFFFFFFFF


def whole_batches(count: int, batch_size: int) -> int:
    """The steps of an epoch: the rest of the records is left out of it."""
    return count // batch_size


class Order:
    """The record numbers of each step's global batch; count: of records, at least a batch.

    A pure function of (count, batch_size, seed) and the step; threads may share it.
    """

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self._count, self._batch = count, batch_size
        self._epoch = whole_batches(count, batch_size)
        # Epoch e has this number + e: unhashed, seed 1 would repeat the order of seed 0 one epoch later.
        self._seed = int(np.random.SeedSequence(seed).generate_state(1)[0])
        self._steps = -(-BLOCK // batch_size)  # of a block
        self._lock = threading.Lock()  # so that only one of the waiting threads makes the next block
        self._block = functools.lru_cache(maxsize=4)(self._made)

    def __getitem__(self, step: int) -> np.ndarray:
        """int64 [batch_size] of a step, counted from 0 over all epochs."""
        epoch, step = divmod(step, self._epoch)
        block, step = divmod(step, self._steps)
        with self._lock:
            numbers = self._block(epoch, block)
        return numbers[step * self._batch : (step + 1) * self._batch]

    def _made(self, epoch: int, block: int) -> np.ndarray:
        first = block * self._steps * self._batch
        last = min(first + self._steps * self._batch, self._epoch * self._batch)
        return permuted(np.arange(first, last), self._count, (self._seed + epoch) & WORD)


def permuted(numbers: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Where a permutation of range(count) takes these numbers, int64; seed: 32 bits."""
    if count == 1:
        return np.zeros(len(numbers), np.int64)
    bits = math.ceil(math.log2(count - 1))
    bits = max(bits + bits % 2, SMALLEST)
    keys = _keys(seed)
    if 4 * count < 1 << bits:  # it would walk for long
        return _walked_together(count, bits, keys)[numbers]
    found = _encrypted(np.asarray(numbers, np.uint64), bits // 2, keys)
    while len(outside := np.flatnonzero(found >= count)):
        found[outside] = _encrypted(found[outside], bits // 2, keys)
    return found.astype(np.int64)


def _walked_together(count: int, bits: int, keys: list[int]) -> np.ndarray:
    """Of all numbers: where each one of the domain leads to, in twice as many steps in each round."""
    to = _encrypted(np.arange(1 << bits, dtype=np.uint64), bits // 2, keys).astype(np.int64)
    while np.any(to[:count] >= count):
        to = np.where(to < count, to, to[to])
    return to[:count]


def _encrypted(values: np.ndarray, word: int, keys: list[int]) -> np.ndarray:
    """Of two words of so many bits each."""
    mask = np.uint64((1 << word) - 1)

    def turned(x: np.ndarray, by: int) -> np.ndarray:
        return ((x << np.uint64(by)) | (x >> np.uint64(word - by))) & mask

    def mixed(x: np.ndarray, key: int) -> np.ndarray:
        return (turned(x, 1) & turned(x, 8)) ^ turned(x, 2) ^ (np.uint64(key) & mask)

    left, right = (values >> np.uint64(word)) & mask, values & mask
    for first, second in zip(keys[::2], keys[1::2], strict=True):
        left = left ^ mixed(right, first)
        right = right ^ mixed(left, second)
    return (left << np.uint64(word)) | right


def _keys(seed: int) -> list[int]:
    """The first four numbers of std::seed_seq{seed}."""
    made = [0x8B8B8B8B] * ROUNDS
    for k, added in enumerate((1, seed + 1, 2, 3)):
        after, last = (k + 1) % ROUNDS, (k + 2) % ROUNDS
        first = 1664525 * _folded(made[k] ^ made[after] ^ made[k - 1]) & WORD
        made[k] = first + added & WORD
        made[after] = made[after] + first & WORD
        made[last] = made[last] + made[k] & WORD
    for k in range(ROUNDS):
        after, last = (k + 1) % ROUNDS, (k + 2) % ROUNDS
        first = 1566083941 * _folded(made[k] + made[after] + made[k - 1] & WORD) & WORD
        made[k] = first - k & WORD
        made[after] ^= first
        made[last] ^= made[k]
    return made


def _folded(x: int) -> int:
    return x ^ x >> 27
