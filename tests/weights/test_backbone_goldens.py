"""Converted weights compute what transformers computes from the same file (goldens, float32)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.models import vit
from adaptface_jax.weights.loading import load_backbone
from tests import made_models as models

ROWS = {
    "tiny_dinov2": "tiny_dinov2",
    "tiny_reg4": "tiny_reg4",
    "tiny_swiglu": "tiny_swiglu",
    "tiny_clip": "tiny_clip",
    "tiny_clip_gelu": "tiny_clip",  # the same shapes; only config.json states the activation
}


@pytest.mark.parametrize("size", [12, 20, 32])
@pytest.mark.parametrize(("golden", "name"), ROWS.items())
def test_features_and_every_block(goldens, golden, name, size):
    folder = goldens / "backbones" / golden
    backbone = load_backbone(str(folder), name, size)
    with np.load(folder / "expected.npz") as expected, jax.default_matmul_precision("highest"):
        images = jnp.asarray(expected["images"][:, :size, :size])
        features = models.forward(vit.definition(backbone.spec, size)[0], backbone.params, images, False, True)
        assert models.relative(features.feature, expected[f"feature_{size}"]) <= 1e-5
        for ours, theirs in zip(features.blocks, expected[f"blocks_{size}"], strict=True):
            assert models.relative(ours, theirs) <= 1e-5


@pytest.mark.parametrize(
    ("name", "size"),
    [("tiny_dinov3", 12), ("tiny_dinov3", 32), ("tiny_dinov3_gated", 20), ("tiny_siglip", 12), ("tiny_siglip", 22),
     ("tiny_siglip", 32)],
)  # fmt: skip
def test_features_of_other_families(goldens, name, size):
    """SigLIP at 22 px: what the patches of 4 do not cover is cropped. Positions are resized as transformers does."""
    folder = goldens / "backbones" / name
    backbone = load_backbone(str(folder), name, size)
    with np.load(folder / "expected.npz") as expected, jax.default_matmul_precision("highest"):
        images = jnp.asarray(expected["images"][:, :size, :size])
        features = models.forward(vit.definition(backbone.spec, size)[0], backbone.params, images)
        assert models.relative(features.feature, expected[f"feature_{size}"]) <= 1e-5


@pytest.mark.parametrize("golden", ["tiny_clip", "tiny_clip_gelu"])
def test_projected_features(goldens, golden):
    folder = goldens / "backbones" / golden
    backbone = load_backbone(str(folder), "tiny_clip", 20, feature="projected")
    with np.load(folder / "expected.npz") as expected, jax.default_matmul_precision("highest"):
        images = jnp.asarray(expected["images"][:, :20, :20])
        features = models.forward(vit.definition(backbone.spec, 20)[0], backbone.params, images, True)
        assert models.relative(features.feature, expected["projected_20"]) <= 1e-5


@pytest.mark.parametrize("name", ["tiny_dinov2", "tiny_clip"])
def test_bfloat16_keeps_the_direction(goldens, name):
    folder = goldens / "backbones" / name
    backbone = load_backbone(str(folder), name, 32, "bfloat16")
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(backbone.params)} == {"bfloat16"}
    with np.load(folder / "expected.npz") as expected:
        images = jnp.asarray(expected["images"], jnp.bfloat16)
        ours = models.forward(vit.definition(backbone.spec, 32)[0], backbone.params, images).feature
        ours, theirs = np.asarray(ours, np.float64), expected["feature_32"].astype(np.float64)
    cosine = np.sum(ours * theirs, axis=1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosine.min() >= 0.999
