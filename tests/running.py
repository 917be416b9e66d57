# SPDX-License-Identifier: Apache-2.0
"""The commands as a user types them, run within the tests' own process, and the config file of a small run."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from adaptface_jax.cli import command
from adaptface_jax.training.checkpoint import CHECKPOINTS

# The packaged backbone's shape at its smallest, with DA-LoRA; random weights unless the settings name some. The
# schedule is part of the compiled step: constant, so that runs of any length share it.
SMALL = {
    "backbone.name": "demo",
    "backbone.image_size": 28,
    "adapter.kind": "dalora",
    "adapter.rank": 2,
    "train.schedule": "constant",
}


def call(module: ModuleType, *words: object) -> int:
    """Run a command; its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [module.__name__, *map(str, words)])
        patch.setattr(command.os, "_exit", sys.exit)  # it would end the tests too
        patch.setattr(sys, "unraisablehook", sys.unraisablehook)  # a command sets its own
        with pytest.raises(SystemExit) as stop:
            command.run_command(module.main, module.parser())
    return stop.value.code


def newest_checkpoint(workdir: Path) -> int:
    """The step of the latest complete one of a run's folder, or 0."""
    files = (workdir / CHECKPOINTS).glob("[0-9]*/manifest.json")
    return max((int(file.parent.name) for file in files), default=0)


def write_config(path: Path, settings: dict[str, Any]) -> Path:
    """A config file with the SMALL settings and these."""
    lines = [f"    c.{name} = {value!r}" for name, value in (SMALL | settings).items()]
    head = ["from adaptface_jax.config import defaults", "", "def get_config():", "    c = defaults()"]
    path.write_text("\n".join([*head, *lines, "    return c", ""]))
    return path
