"""Models opened once: the packaged backbone, and a DA-LoRA run with thresholds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import adaptface_jax as af
from tests import made_models as models
from tests.made_runs import write_results, write_run

THRESHOLDS = {"1e-1": 4.0, "1e-2": 1e-9, "1e-3": None}


@pytest.fixture(scope="session")
def backbone() -> af.FaceModel:
    return af.open("builtin", image_size=28)


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    """DA-LoRA on the packaged backbone, a checkpoint of step 7, thresholds measured at step 9."""
    workdir = tmp_path_factory.mktemp("runs") / "dalora"
    config = models.config("dalora", num_domains=3)
    write_run(workdir, dataclasses.replace(config, backbone=dataclasses.replace(config.backbone, weights="builtin")))
    write_results(workdir, THRESHOLDS)
    return workdir


@pytest.fixture(scope="session")
def trained(run) -> af.FaceModel:
    return af.open(run, batch_size=16)


@pytest.fixture(scope="session")
def crops() -> np.ndarray:
    """uint8 [20, 112, 112, 3]."""
    return np.random.default_rng(3).integers(0, 256, (20, 112, 112, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def folder(crops, tmp_path_factory) -> Path:
    """The same crops as files, in order: 00.png ... 19.png."""
    result = tmp_path_factory.mktemp("crops")
    for number, crop in enumerate(crops):
        Image.fromarray(crop).save(result / f"{number:02d}.png")
    return result


@pytest.fixture(scope="session")
def paths(folder) -> list[Path]:
    return sorted(folder.iterdir())
