"""Runs to export."""

from __future__ import annotations

import dataclasses

import pytest

from adaptface_jax.config.schema import BackboneConfig
from adaptface_jax.models.specs import BACKBONES
from adaptface_jax.weights.formats.reader import open_weights
from tests import made_models as models
from tests import made_runs as finished
from tests import made_weights as dialects


@pytest.fixture(scope="session")
def workdirs(tmp_path_factory):
    """Runs by adapter kind on synthetic weights of the demo backbone, in bfloat16, at a size that is not theirs.

    Those of `lora` have torch hub's names, whose rule for resizing positions differs from transformers'.
    """
    folder = tmp_path_factory.mktemp("runs")
    finished.write_backbone(folder / "published", BACKBONES["demo"])
    (folder / "hub").mkdir()
    dialects.save(folder / "hub" / "model.safetensors", dialects.hub(dict(open_weights(folder / "published"))))
    for kind, weights in (("lora", "hub"), ("dalora", "published"), ("none", "published")):
        backbone = BackboneConfig("demo", str(folder / weights), 28, dtype="bfloat16")
        finished.write_run(folder / kind, dataclasses.replace(models.config(kind), backbone=backbone))
    return folder
