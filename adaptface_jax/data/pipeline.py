"""From a source to batches of uint8 images on the host: order, decoding, batching, prefetch.

Everything is a function of (seed, step): a run resumes at a step and sees the batches that it would have seen. Grain
supplies the shuffle (a keyed permutation, anew in each epoch) and the threads. The shuffle runs over record numbers and
a batch is decoded whole by one thread, so a batch costs one task and not one per image.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence

import grain
import numpy as np

from adaptface_jax.data.decode import decode, to_size
from adaptface_jax.data.record import Source
from adaptface_jax.errors import InputError

# The size InsightFace and the common benchmarks store aligned faces at, in pixels.
STORED_SIZE = 112


def batches(
    source: Source,
    batch_size: int,
    image_size: int = STORED_SIZE,
    *,
    seed: int,
    start_step: int = 0,
    threads: int | None = None,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[dict[str, np.ndarray]]:
    """Training batches from `start_step` on, without end; each epoch is shuffled anew and its short last batch dropped.

    batch_size: images over all processes. Of global batch number `step` (a pure function of source, batch_size, seed
    and step) this process gets the contiguous rows `process_index * B / process_count` on.
    image_size: the stored size in pixels; an image of another size is resized on the host (decode.to_size), since a
    batch is one array.
    threads: batches decoded at a time, ahead of the one being used; default: one per core, at most 16. 0 decodes in
    the caller.

    Yields {"image": uint8 [B', S, S, 3], "label": int32 [B'], "domain": int32 [B']}, B' = batch_size / process_count.
    Raises InputError where the source cannot fill one batch or the processes cannot share one evenly, and while
    iterating for a record that cannot be read or decoded (it is named).
    """
    if batch_size < 1 or batch_size % process_count:
        raise InputError(f"train.batch_size: {batch_size} is no positive multiple of the {process_count} processes")
    if len(source) < batch_size:
        raise InputError(
            f"train.batch_size: {batch_size} is more than the {len(source)} images of {source.description}; "
            "choose a smaller batch"
        )
    rows = batch_size // process_count
    load = _Load(source, image_size, slice(process_index * rows, (process_index + 1) * rows))
    order = grain.MapDataset.range(len(source)).shuffle(_shuffle_seed(seed)).batch(batch_size, drop_remainder=True)
    iterator = iter(order.map(load).repeat().to_iter_dataset(_ahead(threads)))
    iterator.set_state({"next_index": start_step})
    return iterator


def steps_per_epoch(source: Source, batch_size: int) -> int:
    """Whole batches in one pass over the source."""
    return len(source) // batch_size


def evaluation_batches(
    images: Sequence[bytes | np.ndarray],
    batch_size: int,
    image_size: int = STORED_SIZE,
    *,
    keys: Sequence[str] | None = None,
    threads: int | None = None,
) -> Iterator[tuple[np.ndarray, int]]:
    """The images in order, decoded ahead in threads.

    images: encoded or decoded, as in Benchmark; only indexed, so a sequence may read its files when asked.
    keys: name the images in errors (default: their number).
    Yields (uint8 [batch_size, S, S, 3], number of real rows); the last batch is padded with black.
    Raises InputError while iterating for an image that cannot be decoded.
    """

    def load(batch: int) -> tuple[np.ndarray, int]:
        numbers = range(batch * batch_size, min((batch + 1) * batch_size, len(images)))
        out = np.zeros((batch_size, image_size, image_size, 3), np.uint8)
        for row, number in enumerate(numbers):
            key = keys[number] if keys is not None else f"image {number}"
            out[row] = to_size(decode(images[number], key), image_size)
        return out, len(numbers)

    count = -(-len(images) // batch_size)
    return iter(grain.MapDataset.range(count).map(load).to_iter_dataset(_ahead(threads)))


@dataclasses.dataclass(frozen=True)
class _Load:
    """Record numbers of a global batch -> the decoded rows of this process."""

    source: Source
    image_size: int
    rows: slice

    def __call__(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        numbers = numbers[self.rows]
        image = np.empty((len(numbers), self.image_size, self.image_size, 3), np.uint8)
        label = np.empty(len(numbers), np.int32)
        domain = np.empty(len(numbers), np.int32)
        for row, number in enumerate(numbers.tolist()):
            record = self.source[number]
            image[row] = to_size(decode(record.image, record.key), self.image_size)
            label[row], domain[row] = record.label, record.domain
        return {"image": image, "label": label, "domain": domain}


def _shuffle_seed(seed: int) -> int:
    """Grain shuffles epoch e with seed + e: unspread, run seed 1 would repeat run seed 0 one epoch late."""
    return int(np.random.SeedSequence(seed).generate_state(1)[0])


def _ahead(threads: int | None) -> grain.ReadOptions:
    if threads is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = min(16, cores)
    return grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 2 if threads else 0)
