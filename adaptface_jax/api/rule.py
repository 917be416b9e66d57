"""When two faces count as one person: a threshold, and what is known about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.evaluation.results import BenchmarkResults, read_results
from adaptface_jax.evaluation.thresholds import Threshold, choose_threshold, stored_results


@dataclasses.dataclass(frozen=True)
class Rule:
    """threshold: of the squared distance. step: of the run at which it was measured, None where that is unknown.
    benchmarks: the figures of the file that it may come from."""

    threshold: Threshold
    step: int | None = None
    benchmarks: BenchmarkResults = dataclasses.field(default_factory=dict)

    def gate_names(self, experts: int) -> tuple[str, ...]:
        """A name for each gate: the domain on whose images it is the largest, where a benchmark shows one for each."""
        for entry in self.benchmarks.values():
            mean = entry.gates.mean if entry.gates else {}
            largest = {int(np.argmax(gate)): name for name, gate in mean.items()}
            if len(mean) == len(largest) == experts:
                return tuple(largest[expert] for expert in range(experts))
        return tuple(f"expert {expert}" for expert in range(experts))


def if_known(choose: Callable[[], Rule], asked: bool) -> tuple[Threshold | None, str | None]:
    """The threshold that `choose` finds, or why there is none; raises its InputError where one was asked for."""
    try:
        return choose().threshold, None
    except InputError as error:
        if asked:
            raise
        return None, f"nothing is decided: {error}"


def choose_rule(
    results: Path | None, far: float | None = None, benchmark: str | None = None, threshold: float | None = None
) -> Rule:
    """The threshold given, else the one stored at a FAR.

    Args:
      results: a run's results.json or what `evaluate --output` wrote; None where there is none.
      far, benchmark: as in `choose_threshold`. threshold: a squared distance of unit embeddings, 0..4.

    Raises InputError, which names the flags of `verify`, for values out of range and where no threshold is known.
    """
    if threshold is not None:
        if not 0 <= threshold <= 4:
            raise InputError(f"--threshold: {threshold:g} is out of range; expected a squared distance in 0..4")
        if benchmark is not None or far is not None:
            name = "--far" if benchmark is None else "--benchmark"
            raise InputError(f"{name}: names whose threshold is taken, and --threshold gives one; leave one out")
        stored = read_results(results) if results and results.exists() else None
        return Rule(Threshold(threshold), benchmarks=stored.benchmarks if stored else {})
    if far is not None and not 0 < far < 1:
        raise InputError(f"--far: {far:g} is out of range; expected a rate such as 1e-3")
    if results is None:
        raise InputError("--backbone: no threshold is stored with it; give --threshold, or --results of an evaluation")
    stored = stored_results(results)
    chosen = choose_threshold(stored.benchmarks, str(results), benchmark, far)
    return Rule(chosen, stored.run.steps if stored.run else None, stored.benchmarks)
