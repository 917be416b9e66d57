"""The exported checkpoint's own metrics on the benchmarks of its run."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from adaptface_jax.evaluation.results import read_results
from adaptface_jax.training.monitor import read_metrics
from adaptface_jax.training.run import RESULTS


class Metrics(NamedTuple):
    """accuracy (LFW protocol) and auc on one benchmark, fractions."""

    accuracy: float
    auc: float


def metrics_at(workdir: Path, step: int) -> dict[str, Metrics]:
    """Benchmark -> metrics of the checkpoint at `step`: from `results.json` if the run ended there, else from the
    evaluation at that step in `metrics.jsonl`; empty if there was none."""
    if (results := workdir / RESULTS).is_file():
        found = read_results(results)
        if found.run is not None and found.run.steps == step:
            return {name: Metrics(entry.accuracy, entry.auc) for name, entry in found.benchmarks.items()}
    logged: dict[str, float] = {}
    for line in read_metrics(workdir):
        if line["step"] == step:
            logged |= line
    names = [tag.removeprefix("eval/").removesuffix("/accuracy") for tag in logged if tag.endswith("/accuracy")]
    return {
        name: Metrics(logged[f"eval/{name}/accuracy"], logged[f"eval/{name}/auc"])
        for name in names
        if "/" not in name and f"eval/{name}/auc" in logged
    }


def frozen_metrics(workdir: Path) -> dict[str, Metrics]:
    """The same for the unadapted backbone."""
    if not (workdir / RESULTS).is_file():
        return {}
    found = read_results(workdir / RESULTS).frozen
    return {name: Metrics(entry.accuracy, entry.auc) for name, entry in found.items()}
