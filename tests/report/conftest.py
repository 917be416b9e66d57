"""A small finished run, which the tests here look at in TensorBoard, in a browser and as text."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from adaptface_jax import cli, train
from adaptface_jax.evaluation.scores import SCORES, read_scores, write_scores

CONFIG = """
from adaptface_jax.overrides import defaults

def get_config():
    c = defaults()
    c.backbone.name = "demo"
    c.backbone.weights = "builtin"
    c.backbone.image_size = 28
    c.adapter.kind = "dalora"
    c.adapter.rank = 2
    c.data.train = "synthetic:identities=6,images=12,seed=1"
    c.data.benchmarks = {"faces": "synthetic:identities=6,images=6,seed=2,pairs=60"}
    c.data.threads = 0
    c.eval.batch_size = 32
    c.eval.every_epochs = 2
    c.train.batch_size = 16
    c.train.epochs = 4
    c.train.learning_rate = 1e-3
    c.train.log_every = 1
    c.monitor.images = True
    return c
"""


def call(module, *words: object) -> int:
    """Run a command in this process; its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [module.__name__, *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.run(module.main, module.parser())
    return stop.value.code


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    """Four epochs of DA-LoRA, verified twice, with pictures."""
    folder = tmp_path_factory.mktemp("reported")
    (folder / "small.py").write_text(CONFIG)
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
