"""Logs the scalars of a run to Weights & Biases too (`monitor.wandb`, extra `wandb`): numbers and settings, no images.

The one importer of wandb, where it is used.
"""

from __future__ import annotations

import importlib.util
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import write_text
from adaptface_jax.core.text import one_line

PROJECT = "adaptface_jax"
ID_FILE = "wandb_id.txt"  # a resumed run is the same run there


class WandbRun:
    """An open run at Weights & Biases. Raises InputError if it cannot be opened."""

    def __init__(self, workdir: Path, settings: Mapping[str, Any]) -> None:
        import wandb

        kept = workdir / ID_FILE
        if not kept.exists():
            write_text(kept, uuid.uuid4().hex + "\n")
        try:
            self._run = wandb.init(
                project=PROJECT,
                name=workdir.resolve().name,
                id=kept.read_text(encoding="utf-8").strip(),
                resume="allow",
                dir=str(workdir),
                config=dict(settings),
            )
        except Exception as error:  # its own errors, and those of the network below it
            raise InputError(
                f"monitor.wandb: Weights & Biases cannot be reached ({one_line(error)}); run `wandb login`, or set "
                "WANDB_MODE=offline, or switch monitor.wandb off"
            ) from None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def summary(self, metrics: Mapping[str, float]) -> None:
        """The metrics that the run is listed with."""
        self._run.summary.update(dict(metrics))

    def close(self) -> None:
        self._run.finish()


def open_online(wanted: bool, workdir: Path, settings: Mapping[str, Any]) -> WandbRun | None:
    """The run at Weights & Biases, if it is wanted."""
    return WandbRun(workdir, settings) if wanted else None


def require(wanted: bool) -> None:
    """Raises InputError if wandb is wanted and missing."""
    if wanted and importlib.util.find_spec("wandb") is None:
        raise InputError(
            "monitor.wandb: the package wandb is not installed; pip install 'adaptface_jax[wandb]', "
            "or switch monitor.wandb off"
        )
