"""What is known of the very checkpoint that is exported: its figures on the benchmarks of its run."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from adaptface_jax.evaluation.results import read_results
from adaptface_jax.training.monitor import read_metrics
from adaptface_jax.training.run import RESULTS


class Figures(NamedTuple):
    """accuracy (LFW protocol) and auc on one benchmark, fractions."""

    accuracy: float
    auc: float


def figures_at(workdir: Path, step: int) -> dict[str, Figures]:
    """Benchmark -> figures of the checkpoint at `step`: of `results.json` where the run ended there, else of the
    evaluation at that step in `metrics.jsonl`; empty where there was none."""
    if (results := workdir / RESULTS).is_file():
        found = read_results(results)
        if found.run is not None and found.run.steps == step:
            return {name: Figures(entry.accuracy, entry.auc) for name, entry in found.benchmarks.items()}
    logged: dict[str, float] = {}
    for line in read_metrics(workdir):
        if line["step"] == step:
            logged |= line
    names = [tag.removeprefix("eval/").removesuffix("/accuracy") for tag in logged if tag.endswith("/accuracy")]
    return {
        name: Figures(logged[f"eval/{name}/accuracy"], logged[f"eval/{name}/auc"])
        for name in names
        if "/" not in name and f"eval/{name}/auc" in logged
    }


def frozen_figures(workdir: Path) -> dict[str, Figures]:
    """The same of the unadapted backbone."""
    if not (workdir / RESULTS).is_file():
        return {}
    found = read_results(workdir / RESULTS).frozen
    return {name: Figures(entry.accuracy, entry.auc) for name, entry in found.items()}
