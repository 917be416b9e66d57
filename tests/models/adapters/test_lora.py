"""LoRA and DA-LoRA as arithmetic: the equalities that must hold."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.config.schema import AdapterConfig
from adaptface_jax.models.adapters import lora
from adaptface_jax.models.specs import backbone_spec
from tests import made_models as models


def features(settings, frozen, trainable, images):
    recognizer = models.Recognizer(models.SPEC, settings, jnp.float32)
    return np.asarray(jax.jit(recognizer.embed)(frozen, trainable, images).feature)


@pytest.mark.parametrize(
    ("kind", "targets", "router"),
    [
        ("lora", ("qkv", "proj"), "frozen"),
        ("lora", ("q", "v", "fc1", "fc2"), "frozen"),
        ("dalora", ("qkv", "proj"), "block:1"),
        ("dalora", ("q", "k", "v", "proj"), "frozen"),
    ],
)
def test_with_b_zero_the_adapted_model_is_the_frozen_one_bit_for_bit(kind, targets, router):
    plain = models.config("none")
    _, frozen, _ = models.build(plain)
    settings = models.config(kind, targets=targets, router=router)
    _, _, trainable = models.build(settings)
    images = models.images()
    expected = features(plain, frozen, {"head": trainable["head"]}, images)
    assert np.array_equal(features(settings, frozen, trainable, images), expected)


@pytest.mark.parametrize("targets", [("qkv", "proj"), ("q", "v"), ("k", "fc1", "fc2")])
@pytest.mark.parametrize("rslora", [False, True])
def test_merging_lora_into_the_weights_equals_applying_it(targets, rslora):
    settings = models.config("lora", targets=targets, use_rslora=rslora)
    _, frozen, trainable = models.build(settings)
    trainable["adapter"] = models.made(trainable["adapter"], 1)
    images = models.images()
    applied = features(settings, frozen, trainable, images)
    merged = lora.merge(frozen["backbone"], trainable["adapter"], lora.scale(settings.adapter))
    folded = features(models.config("none"), {"backbone": merged}, {}, images)
    untouched = features(models.config("none"), frozen, {}, images)
    assert models.relative(applied, folded) < 1e-5
    assert models.relative(applied, untouched) > 1e-2


@pytest.mark.parametrize("router", ["frozen", "block:1", "block:2"])
def test_identical_experts_equal_lora_under_any_gate(router):
    single = models.config("lora")
    _, frozen, trainable = models.build(single)
    trainable["adapter"] = models.made(trainable["adapter"], 1)
    mixed = models.config("dalora", router=router)
    _, _, routed = models.build(mixed)
    routed = models.made(routed, 2)
    routed["adapter"] = {
        name: {"a": jnp.tile(f["a"], (1, 1, 3)), "b": jnp.tile(f["b"], (1, 3, 1))}
        for name, f in trainable["adapter"].items()
    }
    images = models.images()
    assert models.relative(features(mixed, frozen, routed, images), features(single, frozen, trainable, images)) < 1e-5


def test_separate_q_k_v_equal_a_fused_adapter_with_a_block_diagonal_b():
    separate = models.config("lora", targets=("q", "k", "v"))
    _, frozen, trainable = models.build(separate)
    trainable["adapter"] = models.made(trainable["adapter"], 1)
    parts = [trainable["adapter"][name] for name in "qkv"]
    width = models.SPEC.width
    b = np.zeros((models.SPEC.depth, 12, 3 * width), np.float32)
    for i, part in enumerate(parts):
        b[:, 4 * i : 4 * i + 4, width * i : width * (i + 1)] = part["b"]
    fused = {"qkv": {"a": jnp.concatenate([part["a"] for part in parts], axis=-1), "b": jnp.asarray(b)}}
    # alpha / r: three times the rank needs three times the alpha
    whole = models.config("lora", targets=("qkv",), rank=12, alpha=24.0)
    images = models.images()
    assert (
        models.relative(
            features(separate, frozen, trainable, images),
            features(whole, frozen, trainable | {"adapter": fused}, images),
        )
        < 1e-5
    )


def test_blocks_before_the_router_use_the_uniform_mix():
    settings = models.config("dalora", router="block:2")
    _, frozen, trainable = models.build(settings)
    trainable = models.made(trainable, 3)
    # Adapters of the routed blocks off: the rest must be the merged mean of the experts.
    early = jnp.arange(models.SPEC.depth)[:, None, None] < 2
    trainable["adapter"] = jax.tree.map(lambda x: jnp.where(early, x, 0), trainable["adapter"])
    merged = lora.merge(frozen["backbone"], trainable["adapter"], lora.scale(settings.adapter), (1 / 3, 1 / 3, 1 / 3))
    images = models.images()
    expected = features(models.config("none"), {"backbone": merged}, {}, images)
    assert models.relative(features(settings, frozen, trainable, images), expected) < 1e-5


@pytest.mark.parametrize("router", ["frozen", "block:1"])
def test_the_shared_expert_is_a_plain_lora_beside_the_gated_ones(router):
    """With the gated experts off it is the LoRA of its ranks; identical experts act as one of weight 1 next to it."""
    settings = models.config("dalora", router=router, rank=2, alpha=4.0, shared_rank=6)
    _, frozen, trainable = models.build(settings)
    trainable = models.made(trainable, 3)
    images, ranks = models.images(), jnp.arange(6 + 3 * 2)
    alone = jax.tree.map(lambda x: x, trainable["adapter"])
    for factor in alone.values():
        factor["b"] = jnp.where((ranks < 6)[None, :, None], factor["b"], 0)
    own = {name: {"a": f["a"][..., :6], "b": f["b"][:, :6]} for name, f in trainable["adapter"].items()}
    plain = models.config("lora", rank=6, alpha=12.0)
    expected = features(plain, frozen, trainable | {"adapter": own}, images)
    assert models.relative(features(settings, frozen, trainable | {"adapter": alone}, images), expected) < 1e-5

    alike = {
        name: {
            "a": jnp.concatenate([f["a"][..., :6], *[f["a"][..., 6:8]] * 3], axis=-1),
            "b": jnp.concatenate([f["b"][:, :6], *[f["b"][:, 6:8]] * 3], axis=1),
        }
        for name, f in trainable["adapter"].items()
    }
    own = {name: {"a": f["a"][..., :8], "b": f["b"][:, :8]} for name, f in trainable["adapter"].items()}
    expected = features(models.config("lora", rank=8, alpha=16.0), frozen, trainable | {"adapter": own}, images)
    assert models.relative(features(settings, frozen, trainable | {"adapter": alike}, images), expected) < 1e-5

    merged = lora.merge(frozen["backbone"], alike, lora.scale(settings.adapter), (1 / 3, 1 / 3, 1 / 3), 6)
    assert models.relative(features(models.config("none"), {"backbone": merged}, {}, images), expected) < 1e-5


@pytest.mark.parametrize("router", ["frozen", "block:1"])
def test_each_image_has_its_own_gate(router):
    settings = models.config("dalora", router=router)
    recognizer, frozen, trainable = models.build(settings)
    trainable = models.made(trainable, 4)
    embed = jax.jit(recognizer.embed)
    images = models.images()
    first = embed(frozen, trainable, images)
    changed = embed(frozen, trainable, images.at[0].set(-images[0]))
    assert np.allclose(first.gate.sum(axis=1), 1, atol=1e-6)
    assert np.array_equal(first.gate[1:], changed.gate[1:])
    assert not np.allclose(first.gate[0], changed.gate[0], atol=1e-4)
    assert np.array_equal(first.embedding[1:], changed.embedding[1:])


def test_dropout_acts_on_the_adapter_alone_and_only_with_a_key():
    settings = models.config("lora", dropout=0.5)
    recognizer, frozen, trainable = models.build(settings)
    embed = jax.jit(recognizer.embed)
    images, key = models.images(), jax.random.key(0)
    assert np.array_equal(embed(frozen, trainable, images, key).feature, embed(frozen, trainable, images).feature)
    trainable["adapter"] = models.made(trainable["adapter"], 1)
    one, two = (embed(frozen, trainable, images, jax.random.key(i)).feature for i in range(2))
    assert not np.allclose(one, two, atol=1e-3)
    assert np.array_equal(embed(frozen, trainable, images, jax.random.key(0)).feature, one)


def test_initial_values_follow_peft():
    config = AdapterConfig(rank=64, targets=("qkv", "fc2"))
    factors = lora.init_adapters(jax.random.key(0), backbone_spec("demo"), config)
    assert not any(np.any(f["b"]) for f in factors.values())
    for name, (din, _) in lora.target_shapes(backbone_spec("demo"), config.targets).items():
        a, bound = np.asarray(factors[name]["a"]), 1 / math.sqrt(din)
        assert np.abs(a).max() <= bound and np.abs(a).max() > 0.99 * bound
        assert a.std() == pytest.approx(bound / math.sqrt(3), rel=0.02)


def test_scales():
    assert lora.scale(AdapterConfig(rank=16, alpha=16.0)) == 1
    assert lora.scale(AdapterConfig(rank=16, alpha=8.0)) == 0.5
    assert lora.scale(AdapterConfig(rank=16, alpha=16.0, use_rslora=True)) == 4
