"""Runs to export."""

from __future__ import annotations

import dataclasses

import pytest

from adaptface_jax.config.schema import BackboneConfig
from adaptface_jax.models.specs import BACKBONES
from tests import made_models as models
from tests import made_runs as finished


@pytest.fixture(scope="session")
def workdirs(tmp_path_factory):
    """Runs by adapter kind on made weights of the demo backbone, in bfloat16, at a size that is not theirs."""
    folder = tmp_path_factory.mktemp("runs")
    finished.write_backbone(folder / "published", BACKBONES["demo"])
    for kind in ("lora", "dalora", "none"):
        backbone = BackboneConfig("demo", str(folder / "published"), 28, dtype="bfloat16")
        finished.write_run(folder / kind, dataclasses.replace(models.config(kind), backbone=backbone))
    return folder
