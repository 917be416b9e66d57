# SPDX-License-Identifier: Apache-2.0
"""From a source to batches of uint8 images on the host: order, decoding, batching, prefetch.

Everything is a function of (seed, step): a run that resumes at a step sees the same batches as if uninterrupted.
`order` supplies the shuffle (a new keyed permutation in each epoch), Grain the threads. The shuffle permutes record
numbers, and one thread (on many cores with a process, `decoding`) reads an entire batch: one task, not one per image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import grain
import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.processors import cores
from adaptface_jax.core.text import plural, shown
from adaptface_jax.data.bad_records import BadRecord, BadRecords
from adaptface_jax.data.decoding import Decoder, Encoded, decoder
from adaptface_jax.data.order import Order, whole_batches
from adaptface_jax.data.record import Source
from adaptface_jax.data.witness import ROW, image_digest, label_digest
from adaptface_jax.distributed.processes import process_rows

ENDLESS = 1 << 62  # steps
# The size at which InsightFace and the common benchmarks store aligned faces, in pixels.
STORED_SIZE = 112

# Takes the numbers [B'] of the records of a batch and their witness.ROW [B'].
Witness = Callable[[np.ndarray, np.ndarray], None]


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
    bad_records: BadRecords | None = None,
    witness: Witness | None = None,
    features: np.ndarray | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Endless training batches from `start_step` on; each epoch is reshuffled and its short last batch dropped.

    batch_size: images over all processes. This process gets B / process_count contiguous rows of global batch number
    `step` (a pure function of source, batch_size, seed and step), from row `process_index * B / process_count` on.
    image_size: the stored size in pixels; an image of another size is resized on the host (decode.to_size), since a
    batch is one array.
    threads: how many batches are decoded concurrently, ahead of their use; default: one per core, at most 16. 0 decodes
    in the caller; with more than decoding.FEW, processes decode.
    bad_records: receives the records that cannot be read or decoded, in training order; they keep their rows (dropping
    one would shift all later batches) with weight 0, no known domain and another row's image, which leaves the batch
    statistics intact. None: they are errors.
    witness: receives what was read for each batch, in training order.
    features: what is known of each record besides, float32 [N, ...]; one that is not finite could not be computed, and
    with bad_records makes its record a bad one.

    Yields {"image": uint8 [B', S, S, 3], "label": int32 [B'] (multi-label [B', A]), "weight": float32 [B']}, with
    B' = batch_size / process_count and weights 1 or 0; for a source with domains also "domain": float32 [B', K], the
    target gates: 1 split evenly over the image's domains, a row of zeros if none is known. With features also
    "feature", theirs; a bad record has those of the row whose image it has.
    Raises InputError if the source cannot fill one batch or the processes cannot share one evenly, and while iterating
    for a record that cannot be read or decoded (naming it) or, with bad_records, once there are too many.
    """
    if batch_size < 1 or batch_size % process_count:
        raise InputError(f"train.batch_size: {batch_size} is not a positive multiple of the {process_count} processes")
    if len(source) < batch_size:
        raise InputError(
            f"train.batch_size: {batch_size} is more than the {plural(len(source), 'image')} of {source.description}; "
            "choose a smaller batch"
        )
    rows = process_rows(batch_size, process_index, process_count)
    skip, witnessed, threads = bad_records is not None, witness is not None, _threads(threads)
    load = _Load(source, image_size, rows, decoder(threads), skip, witnessed, features)
    order = Order(len(source), batch_size, seed)
    steps = grain.MapDataset.range(ENDLESS).map(lambda step: load(order[step]))
    iterator = iter(steps.to_iter_dataset(_ahead(threads)))
    iterator.set_state({"next_index": start_step})
    return _take(iterator, bad_records, witness)


def steps_per_epoch(source: Source, batch_size: int) -> int:
    """Complete batches in one pass over the source."""
    return whole_batches(len(source), batch_size)


def record_keys(source: Source, batch_size: int, seed: int, step: int) -> list[str]:
    """The keys of the records on which step `step` (counted from 1) trains, over all processes."""
    numbers = Order(len(source), batch_size, seed)[step - 1]
    return [source.key(number) for number in numbers.tolist()]


def in_order(
    source: Source, batch_size: int, image_size: int, *, rows: slice, skip: bool, threads: int | None = None
) -> Iterator[tuple[dict[str, np.ndarray], int]]:
    """Every record once, as `batches` would show it: ({"image", "weight"}, number of records in the global batch).

    The last batch is filled up with the last record. rows: of each batch that this process reads. skip: a record that
    cannot be read has weight 0.
    Raises InputError while iterating for a record that cannot be read or decoded, if they are not skipped.
    """
    threads = _threads(threads)
    load = _Load(source, image_size, rows, decoder(threads), skip, witnessed=False)

    def block(batch: int) -> tuple[dict[str, np.ndarray], int]:
        first = batch * batch_size
        found = load(np.minimum(np.arange(first, first + batch_size), len(source) - 1)).batch
        return {name: found[name] for name in ("image", "weight")}, min(batch_size, len(source) - first)

    yield from _each(-(-len(source) // batch_size), block, _ahead(threads))


def evaluation_batches(
    images: Sequence[bytes | np.ndarray],
    batch_size: int,
    image_size: int = STORED_SIZE,
    *,
    keys: Sequence[str] | None = None,
    threads: int | None = None,
    rows: slice = slice(None),
) -> Iterator[tuple[np.ndarray, int]]:
    """The images in order, prefetched by threads.

    images: encoded or decoded, as in Benchmark; only indexed, so a sequence may read its files on access, as
    record.Images does for a source.
    keys: names of the images in errors (default: their number).
    threads: as in `batches`; a single batch is decoded in the caller.
    rows: the rows of each batch that this process reads.
    Yields (uint8 [rows, S, S, 3], number of real rows in the global batch); the last batch is padded with black.
    Raises InputError while iterating for an image that cannot be decoded.
    """

    count = -(-len(images) // batch_size)
    threads = 0 if count == 1 else _threads(threads)
    decode = decoder(threads)

    def load(batch: int) -> tuple[np.ndarray, int]:
        numbers = range(batch * batch_size, (batch + 1) * batch_size)[rows]
        out = np.zeros((len(numbers), image_size, image_size, 3), np.uint8)
        real = [number for number in numbers if number < len(images)]
        names = [f"image {number}" if keys is None else keys[number] for number in real]
        for reason in decode([images[number] for number in real], names, out).values():
            raise InputError(reason)
        return out, min(batch_size, len(images) - batch * batch_size)

    yield from _each(count, load, _ahead(threads))


def _each(count: int, load: Callable[[int], Any], ahead: grain.ReadOptions) -> Iterator[Any]:
    """load(0) to load(count - 1), prefetched by threads."""
    loaded = iter(grain.MapDataset.range(count).map(load).to_iter_dataset(ahead))
    try:
        yield from loaded
    finally:
        loaded.close()


class _Loaded(NamedTuple):
    batch: dict[str, np.ndarray]
    bad: list[BadRecord]
    numbers: np.ndarray
    rows: np.ndarray  # for the witness


def _take(
    loaded: Iterator[_Loaded], bad_records: BadRecords | None, witness: Witness | None
) -> Iterator[dict[str, np.ndarray]]:
    """The batches; bad records are counted here, in training order, not in the threads that prefetch."""
    try:
        for found in loaded:
            if bad_records is not None:
                for record in found.bad:
                    bad_records.add(record)
            if witness is not None:
                witness(found.numbers, found.rows)
            yield found.batch
    finally:
        loaded.close()  # type: ignore[attr-defined]


@dataclasses.dataclass(frozen=True)
class _Load:
    """Record numbers of a global batch -> the decoded rows of this process, and those that could not be read."""

    source: Source
    image_size: int
    rows: slice
    decode: Decoder
    skip: bool
    witnessed: bool
    features: np.ndarray | None = None

    def __call__(self, numbers: np.ndarray) -> _Loaded:
        numbers = numbers[self.rows]
        seen = np.zeros(len(numbers), ROW)
        image = np.zeros((len(numbers), self.image_size, self.image_size, 3), np.uint8)
        weight = np.ones(len(numbers), np.float32)
        feature = None if self.features is None else self.features[numbers]
        images: list[Encoded] = []
        names: list[str] = []
        failed: dict[int, str] = {}
        for row, number in enumerate(numbers.tolist()):
            try:
                record = self.source[number]
            except InputError as error:
                failed[row] = str(error)
                images.append(None)
                names.append("")
                continue
            images.append(record.image)
            names.append(f"{self.source.description}: {shown(record.key)}")
            if self.witnessed:
                seen[row] = image_digest(record), label_digest(self.source, number)
        failed |= self.decode(images, names, image)
        if self.skip and feature is not None:
            for row in np.flatnonzero(~np.isfinite(feature.reshape(len(feature), -1)).all(axis=1)).tolist():
                failed.setdefault(row, f"{names[row]}: could not be read when its frozen feature was computed")
        if failed and not self.skip:
            raise InputError(failed[min(failed)])
        bad = []
        for row in sorted(failed):
            weight[row], seen[row] = 0, (0, 0)
            bad.append(BadRecord(self.source.key(int(numbers[row])), failed[row]))
        if bad and weight.any():
            image[weight == 0] = image[weight.argmax()]
        batch = {"image": image, "label": self.source.labels[numbers], "weight": weight}
        if feature is not None:
            if bad:
                feature[weight == 0] = feature[weight.argmax()] if weight.any() else 0
            batch["feature"] = feature
        if self.source.domains is not None:
            member = self.source.domains[numbers] * weight[:, None]
            batch["domain"] = member / np.maximum(member.sum(axis=1, keepdims=True), 1)
        return _Loaded(batch, bad, numbers, seen)


def _threads(asked: int | None) -> int:
    return min(16, cores()) if asked is None else asked


def _ahead(threads: int) -> grain.ReadOptions:
    return grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 2 if threads else 0)
