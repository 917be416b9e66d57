"""A small finished run, which the tests here look at in TensorBoard, in a browser and as text."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from adaptface_jax import train
from adaptface_jax.evaluation.pair_scores import SCORES, read_scores, write_scores
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


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    """Four epochs of DA-LoRA, verified twice, with pictures."""
    folder = tmp_path_factory.mktemp("reported")
    write_config(folder / "small.py", SETTINGS)
    assert call(train, f"--config={folder / 'small.py'}", f"--workdir={folder / 'small'}") == 0
    return folder / "small"


@pytest.fixture(scope="session")
def other(run, tmp_path_factory) -> Path:
    """The same run as if another rank had been trained: a third of its pairs were judged otherwise."""
    folder = Path(shutil.copytree(run, tmp_path_factory.mktemp("other") / "other"))
    record = json.loads((folder / "run.json").read_text())
    record["config"]["adapter"]["rank"] = 4
    (folder / "run.json").write_text(json.dumps(record))
    file = folder / SCORES / "faces.npz"
    kept = read_scores(file)["faces"]
    changed = np.where(np.arange(len(kept.issame)) % 3 == 0, ~kept.accepted, kept.accepted)
    write_scores(file, {"faces": dataclasses.replace(kept, accepted=changed)})
    return folder
