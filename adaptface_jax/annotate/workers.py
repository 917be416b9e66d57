"""The images of a dataset, measured by several processes, each with its own detector."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

from adaptface_jax.align.detector import use_one_thread
from adaptface_jax.annotate.measure import Measurer
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown
from adaptface_jax.core.workers import spread
from adaptface_jax.data.decode import decode
from adaptface_jax.data.record import Source
from adaptface_jax.data.sources.loose_images import open_images


def measured(path: str, source: Source, indices: Sequence[int], processes: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The key of each record at `indices` and its Measures as a dict, or {"error": why it cannot be read}; in order.

    path: where `source` was opened, since each process reopens it.
    Raises InputError if the extra `align` is not installed, RunError if a process dies.
    """
    work = functools.partial(measured_record, Measurer(), source)
    return spread(work, functools.partial(_worker, path), indices, processes)


def measured_record(measurer: Measurer, source: Source, index: int) -> tuple[str, dict[str, Any]]:
    """The key of a record, and its measures or the reason why it has none."""
    key = source.key(index)
    try:
        return key, dataclasses.asdict(measurer(decode(source[index].image, shown(key))))
    except InputError as error:
        return key, {"error": str(error)}


def _worker(path: str) -> functools.partial[tuple[str, dict[str, Any]]]:
    use_one_thread()
    return functools.partial(measured_record, Measurer(), open_images(path))
