"""Items processed by several processes, each with its own tools, the results in order."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from adaptface_jax.core.errors import RunError

# Items per task, and items that justify another process (it imports and loads for a second).
CHUNK, WORTH_STARTING = 8, 64
AHEAD = 4  # tasks in flight per process

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Item], Result]


def spread(
    work: Work[Item, Result], make: Callable[[], Work[Item, Result]], items: Sequence[Item], processes: int
) -> Iterator[Result]:
    """The result of `work` for each item, in order, by at most `processes` processes.

    work: used where one process is enough. make: makes the same in another process; picklable, as are items and
    results. Raises what `work` raises, and RunError if a process dies.
    """
    processes = min(processes, -(-len(items) // WORTH_STARTING))
    if processes <= 1:
        yield from map(work, items)
        return
    with team(_each(lambda: work), functools.partial(_each, make), processes) as submit:
        parts = (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))
        for results in ahead(map(submit, parts), AHEAD * processes):
            yield from results


@contextlib.contextmanager
def team(
    work: Work[Item, Result], make: Callable[[], Work[Item, Result]], processes: int
) -> Iterator[Callable[[Item], Future[Result]]]:
    """A function that submits an item to one of `processes` processes; with one, it runs here and at once.

    work, make: as in `spread`. Raises RunError if a process dies.
    """
    if processes <= 1:
        yield functools.partial(_at_once, work)
        return
    # A spawned process inherits no threads or compiler state, on which a forked one could hang.
    executor = concurrent.futures.ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=_start, initargs=(make,)
    )
    try:
        yield lambda item: executor.submit(_work, item)
    except BrokenProcessPool:
        raise RunError(
            "a process was killed (out of memory?); run the same command to resume, with fewer --processes"
        ) from None
    finally:
        executor.shutdown(cancel_futures=True)


def ahead(futures: Iterable[Future[Result]], count: int) -> Iterator[Result]:
    """The results in order, with up to `count` items in flight."""
    pending: collections.deque[Future[Result]] = collections.deque()
    for future in futures:
        pending.append(future)
        if len(pending) > count:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _at_once(work: Work[Item, Result], item: Item) -> Future[Result]:
    done: Future[Result] = Future()
    done.set_result(work(item))
    return done


def _each(make: Callable[[], Work[Item, Result]]) -> Work[Sequence[Item], list[Result]]:
    work = make()
    return lambda items: [work(item) for item in items]


def _start(make: Callable[[], Work[Any, Any]]) -> None:
    """Make this process a worker: only its parent ends it, and it does not outlive its parent."""
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


# Set in a worker by `_start`.
_work_here: Work[Any, Any]
