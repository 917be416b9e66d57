"""The images of a set measured by several processes, each with its own detector."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from adaptface_jax.align.detector import use_one_thread
from adaptface_jax.annotate.measure import Measurer
from adaptface_jax.core.errors import InputError, RunError
from adaptface_jax.core.text import shown
from adaptface_jax.data.decode import decode
from adaptface_jax.data.record import Source
from adaptface_jax.data.sources.loose_images import open_images

# Images that a process is given at a time, and for which it is worth starting one (it imports and loads for a second).
CHUNK, WORTH_STARTING = 8, 64


def measured(path: str, source: Source, indices: Sequence[int], processes: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The key of each record at `indices` and its Measures as a dict, or {"error": why it cannot be read}; in order.

    path: where `source` was opened, since each process opens it anew.
    Raises InputError where the extra `align` is not installed, RunError where a process dies.
    """
    measurer = Measurer()
    processes = min(processes, -(-len(indices) // WORTH_STARTING))
    if processes <= 1:
        for index in indices:
            yield measured_record(measurer, source, index)
        return
    # A fresh process has neither threads nor a compiler of its parent's, which a forked one could hang on.
    executor = concurrent.futures.ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=_start, initargs=(path,)
    )
    try:
        yield from executor.map(_measure, indices, chunksize=CHUNK)
    except BrokenProcessPool:
        raise RunError(
            "a process was ended from outside (out of memory?); run the same command to go on, with fewer --processes"
        ) from None
    finally:
        executor.shutdown(cancel_futures=True)


def measured_record(measurer: Measurer, source: Source, index: int) -> tuple[str, dict[str, Any]]:
    """The key of a record, and its measures or why it has none."""
    key = source.key(index)
    try:
        return key, dataclasses.asdict(measurer(decode(source[index].image, shown(key))))
    except InputError as error:
        return key, {"error": str(error)}


def _start(path: str) -> None:
    """Make this process a worker: nothing but its parent ends it, and it does not outlive it."""
    global _measure_here
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    use_one_thread()
    _measure_here = functools.partial(measured_record, Measurer(), open_images(path))


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _measure(index: int) -> tuple[str, dict[str, Any]]:
    return _measure_here(index)


# Of a worker, from `_start` on.
_measure_here: functools.partial[tuple[str, dict[str, Any]]]
