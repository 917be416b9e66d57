"""Searches stored with the run that they evaluate: `identification.json`, and a folder next to it for TensorBoard."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import from_plain, read_json, to_json
from adaptface_jax.evaluation.identification import DEPTHS, Identification
from adaptface_jax.training.monitor import Monitor

FILE, EVENTS = "identification.json", "identification"


@dataclasses.dataclass(frozen=True)
class RecordedSearch:
    """step: of the checkpoint that was evaluated."""

    step: int
    figures: Identification


def read_searches(workdir: Path) -> dict[str, RecordedSearch]:
    """The searches stored with a run, by name; empty if there are none. Raises InputError if the file is damaged."""
    path = workdir / FILE
    if not path.exists():
        return {}
    return {name: from_plain(value, RecordedSearch, f"{path}: {name}") for name, value in read_json(path).items()}


def record_searches(workdir: Path, step: int, found: Mapping[str, Identification]) -> None:
    """Store metrics with a run, replacing those of the same names. Raises InputError if the file is damaged."""
    try:
        kept = read_searches(workdir)
    except InputError as error:
        raise InputError(f"--record: {error}; remove the file to start over") from None
    kept |= {name: RecordedSearch(step, figures) for name, figures in found.items()}
    write_text(workdir / FILE, to_json(kept, indent=2) + "\n")
    # A separate folder, since a running training may write to the run's. It is rewritten as a whole.
    with Monitor(workdir / EVENTS) as monitor:
        for name, entry in sorted(kept.items(), key=lambda item: item[1].step):
            monitor.scalars(entry.step, {f"eval/{name}/{tag}": value for tag, value in scalars(entry.figures).items()})


def scalars(figures: Identification) -> dict[str, float]:
    """The known metrics as TensorBoard tags."""
    tags: dict[str, Any] = {f"rank{depth}": getattr(figures, f"rank{depth}") for depth in DEPTHS}
    tags |= {f"tpir_at_fpir_{fpir}": rate for fpir, rate in figures.tpir_at_fpir.items()}
    tags |= {f"rank1_at_{count}_distractors": rate for count, rate in figures.rank1_by_distractors.items()}
    tags["mean_average_precision"] = figures.mean_average_precision
    return {tag: value for tag, value in tags.items() if value is not None}
