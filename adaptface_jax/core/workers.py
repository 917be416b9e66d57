"""Many things done by several processes, each with its own tools, the results in order."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from adaptface_jax.core.errors import RunError

# Things that a process is given at a time, and for which it is worth starting one (it imports and loads for a second).
CHUNK, WORTH_STARTING = 8, 64

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Item], Result]


def spread(
    work: Work[Item, Result], make: Callable[[], Work[Item, Result]], items: Sequence[Item], processes: int
) -> Iterator[Result]:
    """What `work` makes of each item, in order, by at most so many processes.

    work: used where one process is enough. make: makes the same in a process of its own; picklable, and so are items
    and results.
    Raises what `work` raises, and RunError where a process dies.
    """
    processes = min(processes, -(-len(items) // WORTH_STARTING))
    if processes <= 1:
        yield from map(work, items)
        return
    # A fresh process has neither threads nor a compiler of its parent's, which a forked one could hang on.
    executor = concurrent.futures.ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=_start, initargs=(make,)
    )
    try:
        yield from executor.map(_work, items, chunksize=CHUNK)
    except BrokenProcessPool:
        raise RunError(
            "a process was ended from outside (out of memory?); run the same command to go on, with fewer --processes"
        ) from None
    finally:
        executor.shutdown(cancel_futures=True)


def _start(make: Callable[[], Work[Any, Any]]) -> None:
    """Make this process a worker: nothing but its parent ends it, and it does not outlive it."""
    global _work_here
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _work_here = make()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(item: Any) -> Any:
    return _work_here(item)


# Of a worker, from `_start` on.
_work_here: Work[Any, Any]
