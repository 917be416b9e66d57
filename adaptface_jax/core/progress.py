"""Progress while it happens: phases by name, loops by count; bars on a terminal, lines elsewhere.

Nothing that takes long is silent: a thread reports again what is running after `gap` silent seconds.
"""

from __future__ import annotations

import abc
import sys
import threading
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

from adaptface_jax.core.text import duration

# Seconds between two lines: at first, as a fraction of the elapsed time, and at most.
FIRST_GAP, PART, LAST_GAP = 2.5, 1 / 60, 60.0
# A process that was suspended this long, perhaps with its machine: it computed for hardly any of the time.
STOOD_STILL, BUSY = 30.0, 0.01


class Activity(abc.ABC):
    """Something that takes a while; once entered, it is the current one until another within it is."""

    def __init__(self, bar: tqdm | None) -> None:
        self._bar = bar
        self.since = time.monotonic()

    @abc.abstractmethod
    def now(self) -> str:
        """What is running, without the time."""

    def __enter__(self) -> Self:
        _watch.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _watch.end(self)
        if self._bar is not None:
            self._bar.close()

    def write(self, text: str) -> None:
        """Print lines without breaking a bar."""
        if self._bar is not None:
            self._bar.write(text)
        else:
            print(text, flush=True)
        _watch.said()

    def tick(self, silent: float) -> None:
        """Called now and then by the watching thread; silent: seconds since anything was printed."""
        elapsed = time.monotonic() - self.since
        if self._bar is not None:
            self._bar.refresh()
        elif silent >= gap(elapsed):
            self.write(f"{self.now()} ... {duration(elapsed)}")


class Phase(Activity):
    """Something without a count. brief: reported only if it takes long."""

    def __init__(self, what: str, brief: bool = False) -> None:
        shown = "{desc} ... {elapsed}"
        super().__init__(tqdm(desc=what, bar_format=shown, leave=False) if sys.stderr.isatty() else None)
        self._what, self._brief = what, brief

    def now(self) -> str:
        return self._what

    def __enter__(self) -> Self:
        super().__enter__()
        if not self._brief:
            self.write(f"{self._what} ...")
        return self


class Progress(Activity):
    """Counts `total` items from `start`; `show` takes the metrics to put next to the count.

    brief: reported only if it takes long.
    """

    def __init__(self, total: int, start: int = 0, label: str = "", unit: str = "step", brief: bool = False) -> None:
        super().__init__(
            tqdm(total=total, initial=start, desc=label, unit=unit, dynamic_ncols=True, leave=not brief)
            if sys.stderr.isatty()
            else None
        )
        self._total, self._label, self._done, self._brief = total, label, start, brief
        self._first: tuple[float, int] | None = None
        self._last_line = self.since
        self._last_show = (self.since, time.process_time(), start)

    def now(self) -> str:
        return f"{self._label} {self._done}/{self._total}".strip()

    def at(self, done: int) -> None:
        """Count without a line: `done` are done."""
        self._done = done
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def show(self, done: int, metrics: dict[str, str] | None = None) -> None:
        """Show that `done` of the total are done, with the metrics at that point: a counting loop may be further by
        now."""
        metrics = metrics or {}
        if done < self._done:
            metrics, done = {"at": str(done)} | metrics, self._done
        if self._bar is not None:
            self._bar.set_postfix(metrics, refresh=False)
            self.at(done)
            return
        self._done, now = done, time.monotonic()
        self._leave_out_standstill(now, done)
        if now - self._last_line < gap(now - self.since) and (done < self._total or self._brief):
            return
        self._last_line = now
        words = "  ".join(f"{name} {value}" for name, value in (metrics | self._left(now, done)).items())
        self.write(f"{self.now()}  {words}".strip())

    def _leave_out_standstill(self, now: float, done: int) -> None:
        """Time since the last call does not count toward the speed if nothing was computed in it."""
        (before, busy, known), self._last_show = self._last_show, (now, time.process_time(), done)
        idle = now - before > STOOD_STILL and self._last_show[1] - busy < BUSY * (now - before)
        if idle and self._first is not None:
            since, start = self._first
            self._first = since + now - before, start + done - known

    def _left(self, now: float, done: int) -> dict[str, str]:
        """The time left at the speed since the first call; what came before is start-up."""
        if self._first is None:
            self._first = now, done
        since, start = self._first
        if done == start:
            return {}
        seconds = (now - since) / (done - start) * (self._total - done)
        return {"ETA": duration(seconds)}


def gap(elapsed: float) -> float:
    """The seconds between two lines, `elapsed` seconds after the start."""
    return min(max(FIRST_GAP, PART * elapsed), LAST_GAP)


def going_on() -> Activity | None:
    """The innermost current activity."""
    return _watch.innermost


class _Watch:
    """The current activities, innermost last, and a thread that reports them again, alive while there are any."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._open: list[Activity] = []
        self._over = threading.Event()
        self._said = 0.0

    @property
    def innermost(self) -> Activity | None:
        with self._lock:
            return self._open[-1] if self._open else None

    def said(self) -> None:
        self._said = time.monotonic()

    def begin(self, activity: Activity) -> None:
        with self._lock:
            self._open.append(activity)
            if len(self._open) == 1:
                self.said()
                self._over = threading.Event()
                threading.Thread(target=self._look, args=(self._over,), daemon=True).start()

    def end(self, activity: Activity) -> None:
        with self._lock:
            if activity in self._open:
                self._open.remove(activity)
            if not self._open:
                self._over.set()

    def _look(self, over: threading.Event) -> None:
        while not over.wait(0.5):
            with self._lock:
                if over.is_set() or not self._open:
                    return
                self._open[-1].tick(time.monotonic() - self._said)


_watch = _Watch()
