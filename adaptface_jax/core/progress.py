"""How a long loop shows where it is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

from adaptface_jax.core.text import duration

SECONDS_BETWEEN_LINES = 10.0
# A process that was stopped for so long, or slept with its machine: it computed for hardly any of the time.
STOOD_STILL, BUSY = 30.0, 0.01


class Progress:
    """Counts `total` things from `start`; `show` takes the figures to put beside the count."""

    def __init__(self, total: int, start: int = 0, label: str = "", unit: str = "step") -> None:
        self._total, self._label = total, label
        self._first: tuple[float, int] | None = None
        self._last_line = time.monotonic()
        self._last_show = (self._last_line, time.process_time(), start)
        self._bar = (
            tqdm(total=total, initial=start, desc=label, unit=unit, dynamic_ncols=True) if sys.stderr.isatty() else None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, done: int, figures: dict[str, str]) -> None:
        """Show that `done` of the total are done."""
        if self._bar is not None:
            self._bar.set_postfix(figures, refresh=False)
            self._bar.update(done - self._bar.n)
            return
        now = time.monotonic()
        self._leave_out_standstill(now, done)
        if done < self._total and now - self._last_line < SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        words = "  ".join(f"{name} {value}" for name, value in (figures | self._left(now, done)).items())
        print(f"{self._label} {done}/{self._total}  {words}".strip(), flush=True)

    def _leave_out_standstill(self, now: float, done: int) -> None:
        """What was between the last call and this one does not count for the speed where nothing was computed."""
        (before, busy, known), self._last_show = self._last_show, (now, time.process_time(), done)
        idle = now - before > STOOD_STILL and self._last_show[1] - busy < BUSY * (now - before)
        if idle and self._first is not None:
            since, start = self._first
            self._first = since + now - before, start + done - known

    def _left(self, now: float, done: int) -> dict[str, str]:
        """The time left at the speed since the first call: what was before it is start-up."""
        if self._first is None:
            self._first = now, done
        since, start = self._first
        if done == start:
            return {}
        seconds = (now - since) / (done - start) * (self._total - done)
        return {"ETA": duration(seconds)}

    def write(self, text: str) -> None:
        """Print lines without breaking the bar."""
        if self._bar is not None:
            self._bar.write(text)
        else:
            print(text, flush=True)
