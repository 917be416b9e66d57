"""Ranks, alphas and blocks that differ by layer: what each place gets, and that nothing else matters."""

from __future__ import annotations

import dataclasses
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptface_jax.config.schema import AdapterConfig
from adaptface_jax.core.errors import InputError
from adaptface_jax.models.adapters import lora, places
from adaptface_jax.models.layers.low_rank import Adaptation, rank_gates
from adaptface_jax.training import optim
from tests import made_models as models

SPEC = models.SPEC  # three blocks
TARGETS = ("q", "v", "proj", "fc1")
NAMES = {"q": "attn.q", "v": "attn.v", "proj": "attn.proj", "fc1": "mlp.fc1"}
MIXED = {
    "targets": TARGETS,
    "blocks": (0, 2),
    "rank_pattern": {"blocks.0.attn.q": 1, "attn.(q|v)": 2, "fc1": 6},
    "alpha_pattern": {"blocks.2.mlp.fc1": 3.0, "attn.v": 5.0},
}


def test_the_rank_and_alpha_of_each_place():
    config = AdapterConfig(rank=4, alpha=8.0, **MIXED)
    ranks = {target: found.tolist() for target, found in places.ranks(config, 3).items()}
    assert ranks == {"q": [1, 0, 2], "v": [2, 0, 2], "proj": [4, 0, 4], "fc1": [6, 0, 6]}
    scales = {target: found.tolist() for target, found in places.scales(config, 3).items()}
    assert scales == {"q": [8, 0, 4], "v": [2.5, 0, 2.5], "proj": [2, 0, 2], "fc1": [8 / 6, 0, 0.5]}
    again = dataclasses.replace(config, use_rslora=True)
    assert places.scales(again, 3)["fc1"] == pytest.approx([8 / math.sqrt(6), 0, 3 / math.sqrt(6)])
    assert places.words(config) == (
        "rank 4 (blocks.0.attn.q=1,attn.(q|v)=2,fc1=6) on q, v, proj, fc1, alpha 8 (blocks.2.mlp.fc1=3,attn.v=5), "
        "in blocks 0,2"
    )


@pytest.mark.parametrize(
    ("pattern", "first"), [({"q": 2}, 2), ({"v": 2}, 4), ({".q": 2}, 4), ({"^q": 2}, 4), ({r"blocks\.0\..*": 2}, 2),
                           ({"^blocks.0.attn.q": 2}, 2), ({"blocks.[12].attn.q": 2}, 4), ({"locks.0.attn.q": 2}, 4)]
)  # fmt: skip
def test_keys_match_as_in_peft(pattern, first):
    assert places.ranks(AdapterConfig(rank=4, targets=("q",), rank_pattern=pattern), 3)["q"][0] == first


def test_a_shared_expert_follows_in_proportion():
    config = AdapterConfig(kind="dalora", rank=4, alpha=8.0, shared_rank=2, targets=("q",), rank_pattern={"q": 6})
    assert (lora.shared(config), lora.width(config)) == (3, 3 + 3 * 6)
    places.check_places(config, 3)
    with pytest.raises(InputError, match=r"q=5 gives the shared expert the rank 5 x 2 / 4.*a multiple of 2"):
        places.check_places(dataclasses.replace(config, rank_pattern={"q": 5}), 3)


@st.composite
def configs(draw) -> AdapterConfig:
    """All of width 12 ranks, so that nothing is compiled twice."""
    kind, rank, shared = draw(st.sampled_from([("lora", 12, 0), ("dalora", 4, 0), ("dalora", 3, 3)]))
    keys = st.sampled_from(TARGETS).map(NAMES.get) | st.builds(
        "blocks.{}.{}".format,
        st.sampled_from([0, 1, 2, "[01]", ".*"]),
        st.sampled_from([*NAMES.values(), "attn.(q|v)"]),
    )
    return AdapterConfig(
        kind=kind,
        rank=rank,
        alpha=draw(st.sampled_from([4.0, 7.5])),
        targets=TARGETS,
        blocks=draw(st.sampled_from([(), (1,), ("0-1",), (2, 0), ("1-2", 1)])),
        rank_pattern=draw(st.dictionaries(keys, st.integers(1, rank), max_size=4)),
        alpha_pattern=draw(st.dictionaries(keys, st.sampled_from([1.0, 3.0, 16.0]), max_size=3)),
        use_rslora=draw(st.booleans()),
        num_domains=3,
        shared_rank=shared,
    )


def by_hand(config: AdapterConfig, target: str, block: int) -> tuple[int, float]:
    """(rank, scale) of a place, as PEFT assigns them to a module of that name."""
    adapted = {int(i) for item in config.blocks for i in range(int(str(item)[0]), int(str(item)[-1]) + 1)} or {0, 1, 2}
    if block not in adapted:
        return 0, 0.0
    name = f"blocks.{block}.{NAMES[target]}"
    match = lambda pattern: [v for key, v in pattern.items() if re.match(rf"(.*\.)?({key})$", name)]  # noqa: E731
    rank = (match(config.rank_pattern) or [config.rank])[0]
    alpha = (match(config.alpha_pattern) or [config.alpha])[0]
    return rank, alpha / (math.sqrt(rank) if config.use_rslora else rank)


@settings(max_examples=60, deadline=None)
@given(configs(), st.integers(0, 2**32 - 1))
def test_every_layer_of_every_block_is_peft_at_its_own_rank_and_scale(config, seed):
    """Against NumPy, place by place, whatever the unused ranks hold."""
    rng = np.random.default_rng(seed)
    shapes = lora.target_shapes(SPEC, TARGETS)
    width, wide, shared = lora.width(config), places.widest(config), lora.shared(config)
    assert width == 12
    draw = lambda *shape: rng.uniform(-1, 1, shape).astype(np.float32)  # noqa: E731
    factors = {name: {"a": draw(3, din, width), "b": draw(3, width, dout)} for name, (din, dout) in shapes.items()}
    gates = rng.dirichlet([1, 1, 1], 2).astype(np.float32) if config.kind == "dalora" else np.ones((2, 1), np.float32)
    x = draw(2, 5, SPEC.width)
    applied, scale = lora.applied(factors, SPEC, config)
    numbers = 0
    for block in range(3):
        layers = {name: jax.tree.map(lambda leaf, block=block: leaf[block], f) for name, f in applied.items()}
        found = Adaptation(layers, rank_gates(jnp.asarray(gates), wide, shared), scale=scale).deltas(x, TARGETS)
        for name, (din, dout) in shapes.items():
            rank, strength = by_hand(config, name, block)
            a, b = factors[name]["a"][block], factors[name]["b"][block]
            expected = np.zeros((2, 5, dout), np.float32)
            experts = [(shared + k * wide, rank, gates[:, k]) for k in range(lora.experts(config))]
            if shared:
                experts.append((0, rank * config.shared_rank // config.rank, np.ones(2, np.float32)))
            for start, own, gate in experts:
                part = (x @ a[:, start : start + own]) * gate[:, None, None]
                expected += np.float32(strength) * (part @ b[start : start + own])
                numbers += own * (din + dout)
            error = np.abs(np.asarray(found[name]) - expected).max()
            assert error <= 1e-6 * max(1, np.abs(expected).max())
    assert lora.count_parameters(SPEC, config) == numbers


def test_a_uniform_adapter_is_unchanged():
    config = AdapterConfig(rank=4, alpha=8.0, targets=("proj",))
    factors = lora.init_adapters(jax.random.key(0), SPEC, config)
    assert lora.applied(factors, SPEC, config) == (factors, 2.0)
    same = dataclasses.replace(config, rank_pattern={"proj": 4})
    for name, factor in lora.init_adapters(jax.random.key(0), SPEC, same).items():
        np.testing.assert_array_equal(factor["a"], factors[name]["a"])


def test_unused_ranks_are_zero_and_stay_zero():
    """Through gradients, weight decay and every optimizer; everything else moves."""
    patterns = MIXED | {"rank_pattern": {"blocks.0.attn.q": 2, "fc1": 6}}
    config = models.config("dalora", shared_rank=2, **patterns)
    recognizer, frozen, trainable = models.build(config, classes=None)
    held = lora.ranks_held(SPEC, config.adapter)
    images, key = models.images(), jax.random.key(1)

    @jax.jit
    @jax.grad
    def gradient(adapter):
        return jnp.sum(recognizer.embed(frozen, trainable | {"adapter": adapter}, images, key).embedding ** 3)

    for optimizer in ("adamw", "adam", "sgd"):
        train = dataclasses.replace(config.train, optimizer=optimizer, weight_decay=0.1, clip_norm=1.0)
        rule, tree = optim.optimizer(train, 0.01), trainable["adapter"]
        update = jax.jit(rule.update)
        state = rule.init(tree)
        for _ in range(2):
            grads = gradient(tree)
            updates, state = update(grads, state, tree)
            tree = jax.tree.map(jnp.add, tree, updates)
            for name in TARGETS:
                assert not np.asarray(grads[name]["a"]).swapaxes(1, 2)[~held[name]].any()
                assert not np.asarray(grads[name]["b"])[~held[name]].any()
        for name, factor in tree.items():
            moved = factor["a"] != trainable["adapter"][name]["a"]
            for found in (np.asarray(factor["a"]).any(axis=1), np.asarray(factor["b"]).any(axis=2), moved.any(axis=1)):
                np.testing.assert_array_equal(found, held[name])


def test_the_merged_weights_are_the_frozen_ones_and_each_place_at_its_own_scale():
    config = models.config("lora", **MIXED)
    recognizer, frozen, trainable = models.build(config, classes=None)
    trainable = models.made(trainable, 1)
    adapters, scale = lora.applied(trainable["adapter"], SPEC, config.adapter)
    merged = lora.merge(frozen["backbone"], adapters, scale)["blocks"]
    before, width = frozen["backbone"]["blocks"], SPEC.width
    for target, (start, stop) in {"q": (0, width), "v": (2 * width, 3 * width)}.items():
        factor = trainable["adapter"][target]
        for block in range(3):
            rank, strength = by_hand(config.adapter, target, block)
            change = strength * np.asarray(factor["a"][block][:, :rank], np.float64) @ factor["b"][block][:rank]
            kernel = before["attn"]["qkv"]["kernel"][block][:, start:stop]
            found = merged["attn"]["qkv"]["kernel"][block][:, start:stop]
            np.testing.assert_allclose(found, kernel + change, atol=1e-6)
    np.testing.assert_array_equal(merged["mlp"]["fc1"]["kernel"][1], before["mlp"]["fc1"]["kernel"][1])
    images = models.images()
    applied = jax.jit(recognizer.embed)(frozen, trainable, images).embedding
    plain = models.Recognizer(SPEC, models.config("none"), jnp.float32)
    folded = {"backbone": {**frozen["backbone"], "blocks": merged}}
    expected = jax.jit(plain.embed)(folded, {"head": trainable["head"]}, images).embedding
    assert models.relative(applied, expected) < 1e-5
