"""A small finished run, whose records, pages and images tests inspect."""

from __future__ import annotations

from pathlib import Path

from adaptface_jax.train import __main__ as train
from tests.running import call, write_config

SETTINGS = {
    "backbone.weights": "builtin",
    "data.train": "synthetic:identities=6,images=12,seed=1",
    "data.benchmarks": {"faces": "synthetic:identities=6,images=6,seed=2,pairs=60"},
    "data.threads": 0,
    "eval.batch_size": 32,
    "eval.every_epochs": 2,
    "train.batch_size": 16,
    "train.epochs": 4,
    "train.learning_rate": 1e-3,
    "train.log_every": 1,
    "monitor.images": True,
}
CONFIG, WORKDIR = "small.py", "small"


def write_finished_run(folder: Path) -> Path:
    """Four epochs of DA-LoRA, verified twice, with images: `folder`/small, its settings in `folder`/small.py."""
    config = write_config(folder / CONFIG, SETTINGS)
    assert call(train, f"--config={config}", f"--workdir={folder / WORKDIR}") == 0
    return folder / WORKDIR
