"""A small finished run, which these tests inspect in TensorBoard, in a browser and as text."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from adaptface_jax.evaluation.pair_scores import SCORES, read_scores, write_scores


@pytest.fixture(scope="session")
def run(finished_run) -> Path:
    """Four epochs of DA-LoRA, verified twice, with images."""
    return finished_run


@pytest.fixture(scope="session")
def other(run, tmp_path_factory) -> Path:
    """The same run as if another rank had been trained: a third of its pairs scored differently."""
    folder = Path(shutil.copytree(run, tmp_path_factory.mktemp("other") / "other"))
    record = json.loads((folder / "run.json").read_text())
    record["config"]["adapter"]["rank"] = 4
    (folder / "run.json").write_text(json.dumps(record))
    file = folder / SCORES / "faces.npz"
    kept = read_scores(file)["faces"]
    changed = np.where(np.arange(len(kept.issame)) % 3 == 0, ~kept.accepted, kept.accepted)
    write_scores(file, {"faces": dataclasses.replace(kept, accepted=changed)})
    return folder
