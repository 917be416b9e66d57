# SPDX-License-Identifier: Apache-2.0
"""Models opened once: the packaged backbone, and a DA-LoRA run with thresholds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import adaptface_jax as af
from tests.made_runs import write_run_with_thresholds


@pytest.fixture(scope="session")
def backbone() -> af.FaceModel:
    return af.open("builtin", image_size=28)


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    return write_run_with_thresholds(tmp_path_factory.mktemp("runs") / "dalora")


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
