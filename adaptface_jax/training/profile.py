"""A trace of some steps of a run, for TensorBoard's profiler and for Perfetto."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax

from adaptface_jax.core.text import plural

WARM = 2  # steps before the first recorded one: the compiler and the allocator have warmed up


class Profile:
    """Records `steps` steps from `first + 2` on; a context manager, which ends an open trace.

    folder: receives `plugins/profile/DATE/`, where TensorBoard looks for it, with `perfetto_trace.json.gz` for
    ui.perfetto.dev. say: called with the path of the trace, once it is written. With 0 steps nothing happens.
    """

    def __init__(self, folder: Path, steps: int, first: int, say: Callable[[str], None]) -> None:
        self._folder, self._say = folder, say
        self._begin, self._end = first + WARM, first + WARM + steps
        self._recorded: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def before(self, step: int, running: Any) -> jax.profiler.StepTraceAnnotation:
        """Start or end the trace before `step`, once the running step is done; returns the step's annotation."""
        if self._begin == step < self._end:
            jax.block_until_ready(running)
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
            self._recorded = 0
        elif step == self._end:
            jax.block_until_ready(running)
            self._close()
        if self._recorded is not None:
            self._recorded += 1
        return jax.profiler.StepTraceAnnotation("train", step_num=step)

    def _close(self) -> None:
        if self._recorded is None:
            return
        jax.profiler.stop_trace()
        self._say(f"a trace of {plural(self._recorded, 'step')} is in {self._folder / 'plugins' / 'profile'}")
        self._recorded = None
