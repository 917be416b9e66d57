# SPDX-License-Identifier: Apache-2.0
"""The exact sizes of the published experiments, from the packaged recipes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from adaptface_jax.config import recipes
from adaptface_jax.core import trees
from adaptface_jax.models import vit
from adaptface_jax.models.recognizer import ParameterCount, Recognizer, built_spec, count_parameters
from adaptface_jax.models.settings import checked
from adaptface_jax.models.specs import backbone_spec


def table(name: str) -> dict[str, tuple[int, int]]:
    settings = checked(recipes.load(name))
    spec = built_spec(backbone_spec(settings.backbone.name), settings.backbone.feature)
    _, shapes = vit.definition(spec, settings.backbone.image_size)
    recognizer = Recognizer(spec, settings, jnp.float32)
    frozen, trainable = jax.eval_shape(lambda tree: recognizer.init(tree, 10_572), shapes)
    assert trainable["centers"].shape == (10_572, recognizer.embedding_dim)
    rows = {row.part: (row.total, row.trainable) for row in count_parameters(recognizer, frozen, trainable)}
    rows["sum"] = (sum(r[0] for r in rows.values()), sum(r[1] for r in rows.values()))
    return rows


def test_exp_001_lora():
    assert table("lora") == {
        "backbone": (21_628_800, 226_176),
        "adapter": (442_368, 442_368),
        "head": (197_120, 197_120),
        "sum": (22_268_288, 865_664),
    }


def test_exp_003_dalora():
    rows = table("dalora")
    assert rows["adapter"] == (3 * 442_368, 3 * 442_368)
    assert rows["router"] == (99_331, 99_331)
    assert rows["sum"] == (23_252_355, 1_849_731)


def test_linear_probe_trains_its_head_alone():
    assert table("linear_probe")["sum"] == (21_628_800 + 197_120, 197_120)


def test_froundation_adapts_q_and_v_without_a_head():
    # 12 blocks x 2 targets x (384 x 16 + 16 x 384)
    assert table("froundation") == {
        "backbone": (21_628_800, 0),
        "adapter": (294_912, 294_912),
        "sum": (21_628_800 + 294_912, 294_912),
    }


@pytest.mark.parametrize("name", ["clip_lora", "clip_dalora"])
def test_clip_holds_no_unused_projection(name):
    total, _ = table(name)["backbone"]
    _, shapes = vit.definition(backbone_spec("clip_vitb16"), 224)
    assert total == trees.count(shapes) - 768 * 512


def test_a_whole_backbone_trains_in_full_fine_tuning():
    config = recipes.load("linear_probe")
    config.adapter.kind = "full"
    settings = checked(config)
    spec = backbone_spec("dinov2_vits14")
    _, shapes = vit.definition(spec, 224)
    recognizer = Recognizer(spec, settings, jnp.float32)
    frozen, trainable = jax.eval_shape(lambda tree: recognizer.init(tree, None), shapes)
    assert frozen == {} and "centers" not in trainable
    assert count_parameters(recognizer, frozen, trainable)[0] == ParameterCount("backbone", 21_628_800, 21_628_800)
