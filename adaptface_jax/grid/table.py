"""The sub-runs of a grid, best first: `grid.md` and the printed table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adaptface_jax.cli.table import text_table
from adaptface_jax.config.classification import ClassificationConfig
from adaptface_jax.config.overrides import AnyConfig
from adaptface_jax.core.files import write_text
from adaptface_jax.core.text import duration, plural
from adaptface_jax.grid.record import FAILED, FINISHED, Record, SubRun

PAGE = "grid.md"


def worth(run: SubRun) -> float | None:
    """What a sub-run is ranked by, higher is better: its score, or the last loss if nothing was evaluated."""
    if run.score is not None:
        return run.score
    return None if run.loss is None else -run.loss


def rank(runs: Sequence[SubRun]) -> list[SubRun]:
    """The finished ones, best first and numbered (ties by order), then the others as they are."""
    finished = [run for run in runs if run.state == FINISHED]

    def key(run: SubRun) -> tuple[bool, bool, float]:
        return run.score is None, worth(run) is None, -(worth(run) or 0.0)

    ordered = sorted(finished, key=key)
    for run in runs:
        run.rank = None
    for number, run in enumerate(ordered, 1):
        run.rank = number
    return ordered + [run for run in runs if run.state != FINISHED]


def score_title(config: AnyConfig) -> str:
    """The name of a sub-run's score."""
    if isinstance(config, ClassificationConfig):
        return f"validation {config.eval.metric.replace('_', ' ')}"
    return "mean accuracy"


def score_text(config: AnyConfig, run: SubRun) -> str:
    """A score in the form of its title; empty if nothing was evaluated."""
    if run.score is None:
        return ""
    metric = config.eval.metric if isinstance(config, ClassificationConfig) else "accuracy"
    if metric == "accuracy":
        return f"{100 * run.score:.2f}%"
    return f"{-run.score if metric == 'loss' else run.score:.4f}"


def grid_table(record: Record, config: AnyConfig) -> str:
    """One row per sub-run, ranked."""
    settings = list(dict.fromkeys([*record.sweeps, *(name for run in record.runs for name in run.choice)]))
    evaluated = any(run.score is not None for run in record.runs)
    titles = ["rank", *settings, *([score_title(config)] if evaluated else []), "last loss", "steps", "time", "state"]
    rows = []
    for run in rank(record.runs):
        cells = ["" if run.rank is None else str(run.rank), *(run.choice.get(name, "") for name in settings)]
        cells += [score_text(config, run)] if evaluated else []
        cells += ["" if run.loss is None else f"{run.loss:.4f}", f"{run.steps:,}", duration(run.seconds), run.state]
        rows.append(cells)
    return text_table(titles, rows)


def write_page(out: Path, record: Record, config: AnyConfig) -> None:
    """`grid.md`: the table, and why sub-runs failed."""
    by = score_title(config) if any(run.score is not None for run in record.runs) else "last training loss"
    lead = f"{plural(len(record.runs), 'sub-run')}, ranked by raw {by}: `adaptface report` over them tests"
    parts = ["# Grid", f"{lead} which differences are significant.", grid_table(record, config)]
    parts += [f"{run.name} failed: {run.line}" for run in record.runs if run.state == FAILED]
    write_text(out / PAGE, "\n\n".join(parts) + "\n")
