# SPDX-License-Identifier: Apache-2.0
"""A sub-run's outcome, from the files it left."""

from __future__ import annotations

from pathlib import Path

from adaptface_jax.core.json_io import read_json
from adaptface_jax.grid.record import SubRun
from adaptface_jax.training.checkpoint import CHECKPOINTS, saved_rank
from adaptface_jax.training.monitor import read_metrics
from adaptface_jax.training.run import RESULTS


def is_over(workdir: Path) -> bool:
    """Whether the run there is complete: it writes its results last."""
    return (workdir / RESULTS).exists()


def read_outcome(run: SubRun, workdir: Path) -> None:
    """Fill in score, loss and steps, as far as the run got."""
    ranks = [saved_rank(folder) for folder in (workdir / CHECKPOINTS).glob("[0-9]*")]
    # The best checkpoint is always kept.
    run.score = max((rank for rank in ranks if rank is not None), default=(True, None))[1]
    rows = [row for row in read_metrics(workdir) if "train/loss" in row]
    run.loss = rows[-1]["train/loss"] if rows else None
    run.steps = rows[-1]["step"] if rows else 0
    if is_over(workdir):
        run.steps = (read_json(workdir / RESULTS).get("run") or {}).get("steps", run.steps)
