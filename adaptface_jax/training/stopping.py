# SPDX-License-Identifier: Apache-2.0
"""Stop signals, at any moment of a run: those of a terminal, a machine that goes down, and the clusters' warnings."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeVar

from adaptface_jax.core.errors import Stopped
from adaptface_jax.core.interruptions import raised_again

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
Result = TypeVar("Result")


class StopSignals:
    """Remembers the first signal while it is entered. The loop checks `received` after every step; within
    `at_once` the signal raises Stopped wherever the program is, so nothing may be left half-done there.

    alone: whether the run has this process only; one of several continues to the next step and stops with the others.
    """

    def __init__(self, alone: bool = True) -> None:
        # One of several processes must not exit by itself: the others would wait for it.
        self._alone = alone
        self.received: str | None = None
        self._raising = self._dropped = False
        self._before: dict[int, Any] = {}
        self._hook: Any = None

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._remember) for number in SIGNALS}
        self._hook, sys.unraisablehook = sys.unraisablehook, raised_again(Stopped, self._again, sys.unraisablehook)
        return self

    def __exit__(self, *unused: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        sys.unraisablehook = self._hook

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Here a signal raises Stopped, even one that arrived earlier; may be nested."""
        outer, self._raising = self._raising, self._alone
        try:
            if self.received and self._alone:
                raise self._stopped()
            yield
        finally:
            self._raising = outer

    def in_background(self, work: Callable[[], Result]) -> Result:
        """The result of `work`, run in a thread: a signal then raises Stopped even during C++ code."""
        results: list[Result] = []
        errors: list[BaseException] = []

        def target() -> None:
            try:
                results.append(work())
            except BaseException as error:
                errors.append(error)

        # A daemon: the program may exit during a compilation.
        thread = threading.Thread(target=target, daemon=True)
        with self.at_once():
            thread.start()
            while thread.is_alive():
                thread.join(0.1)
        if errors:
            raise errors[0]
        return results[0]

    def _remember(self, number: int, frame: Any) -> None:
        first = self.received is None
        if first:
            self.received = signal.Signals(number).name
        if (first or self._dropped) and self._raising:
            self._dropped = False
            raise self._stopped()

    def _again(self) -> int:
        self._dropped = True
        return signal.Signals[self.received or "SIGTERM"]

    def _stopped(self) -> Stopped:
        return Stopped(f"stopped by {self.received}; run the same command to resume")
