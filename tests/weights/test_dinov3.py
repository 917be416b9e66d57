# SPDX-License-Identifier: Apache-2.0
"""The rows of DINOv3: as large as published, and the largest without the biases that the others have."""

from __future__ import annotations

import dataclasses
import json
import math

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from adaptface_jax.core.errors import InputError
from adaptface_jax.export.tower import hf_config
from adaptface_jax.models import vit
from adaptface_jax.models.specs import BACKBONES
from adaptface_jax.weights.loading import load_backbone
from adaptface_jax.weights.names import engine
from tests import made_models as models
from tests import made_towers as towers
from tests import made_weights as dialects

# In millions, rounded, from the model card of facebookresearch/dinov3.
PUBLISHED = {"vits16plus": 29, "vitb16": 86, "vitl16": 300, "vith16plus": 840, "vit7b16": 6716}
ROW = "tiny_dinov3_gated"


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_has_the_published_number_of_parameters(name):
    shapes = engine.tree_shapes(BACKBONES[f"dinov3_{name}"])
    assert sum(map(math.prod, shapes.values())) / 1e6 == pytest.approx(PUBLISHED[name], rel=0.012)


@pytest.fixture
def unbiased(monkeypatch):
    """The row is one without biases of query and value, like ViT-7B."""
    monkeypatch.setitem(BACKBONES, ROW, dataclasses.replace(BACKBONES[ROW], unbiased=True))


def file_of(goldens, folder, dialect, *, zeros):
    """A file whose biases of query and value are zero, or are left out."""
    hf = safetensors.numpy.load_file(goldens / "backbones" / ROW / "model.safetensors")
    biases = [name for name in hf if name.endswith(("q_proj.bias", "v_proj.bias"))]
    assert len(biases) == 4
    tensors = towers.dialect(dialect).of(hf | {name: np.zeros_like(hf[name]) for name in biases})
    if not zeros:
        left_out = ("q_proj.bias", "v_proj.bias", "qkv.bias", "bias_mask", "q_bias", "v_bias")
        tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith(left_out)}
    folder.mkdir()
    dialects.save(folder / "model.safetensors", tensors)
    return folder


def feature(folder):
    backbone = load_backbone(str(folder), ROW, 20)
    images = jnp.asarray(np.random.default_rng(1).standard_normal((2, 20, 20, 3), np.float32))
    return models.forward(vit.definition(backbone.spec, 20)[0], backbone.params, images).feature


@pytest.mark.parametrize("dialect", ["hf_dinov3", "hub_dinov3", "timm_dinov3"])
def test_left_out_biases_are_zero(goldens, tmp_path, dialect, monkeypatch):
    expected = feature(file_of(goldens, tmp_path / "zeros", dialect, zeros=True))
    monkeypatch.setitem(BACKBONES, ROW, dataclasses.replace(BACKBONES[ROW], unbiased=True))
    found = feature(file_of(goldens, tmp_path / "without", dialect, zeros=False))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("unbiased")
def test_the_config_next_to_them_has_to_say_so(goldens, tmp_path):
    folder = file_of(goldens, tmp_path / "without", "hf_dinov3", zeros=False)
    config = folder / "config.json"
    config.write_text(json.dumps(hf_config(BACKBONES[ROW])))
    assert json.loads(config.read_text())["query_bias"] is False
    load_backbone(str(folder), ROW, 20)
    config.write_text(json.dumps(hf_config(BACKBONES[ROW]) | {"query_bias": True}))
    with pytest.raises(InputError, match=r"query_bias is True, but .* has False"):
        load_backbone(str(folder), ROW, 20)
