"""How a long loop shows where it is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

from adaptface_jax.core.text import duration

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Counts `total` things from `start`; `show` takes the figures to put beside the count."""

    def __init__(self, total: int, start: int = 0, label: str = "", unit: str = "step") -> None:
        self._total, self._label = total, label
        self._first: tuple[float, int] | None = None
        self._last_line = time.monotonic()
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
        if done < self._total and now - self._last_line < SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        words = "  ".join(f"{name} {value}" for name, value in (figures | self._left(now, done)).items())
        print(f"{self._label} {done}/{self._total}  {words}".strip(), flush=True)

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
