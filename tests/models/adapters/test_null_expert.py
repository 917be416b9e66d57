# SPDX-License-Identifier: Apache-2.0
"""A gate without an expert: its share of an image stays the frozen model's."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.config import overrides, yardstick
from adaptface_jax.core.errors import InputError
from adaptface_jax.export.work import refuse_null
from adaptface_jax.models.adapters import lora, router
from adaptface_jax.models.layers.low_rank import rank_gates
from tests import made_models as models

SETTINGS = {"null_expert": True, "num_domains": 3, "shared_rank": 2, "rank": 4}


def embedder(settings):
    recognizer, frozen, trainable = models.build(models.replace(settings, "head", kind="none"))
    return jax.jit(recognizer.embed), frozen, models.made(trainable, 4)


@pytest.mark.parametrize(
    ("name", "form"), [("frozen", "mean"), ("block:1", "mean"), ("block:2", "mean_std")], ids=lambda value: value
)
def test_with_hard_gates_an_image_of_the_null_expert_has_the_frozen_embedding_bit_for_bit(name, form):
    embed, frozen, trainable = embedder(
        models.config("dalora", router=name, router_input=form, gate="top1", **SETTINGS)
    )
    images = models.images(16)
    # The null expert's gate shifted to the median: half of the images are its own.
    gate = np.log(embed(frozen, trainable, images).gate)
    lacking = np.median(gate[:, :2].max(axis=1) - gate[:, 2])
    trainable["router"]["fc2"]["bias"] += jnp.array([0, 0, lacking])
    found = embed(frozen, trainable, images)
    null = np.argmax(found.gate, axis=1) == 2
    assert 4 <= null.sum() <= 12
    plain, _, _ = embedder(models.config("none"))
    expected = np.asarray(plain(frozen, {}, images).embedding)
    own = np.asarray(found.embedding)
    assert own[null].tobytes() == expected[null].tobytes()
    assert models.relative(own[~null], expected[~null]) > 0.05
    assert all(models.relative(a[None], b[None]) > 1e-3 for a, b in zip(own[~null], expected[~null], strict=True))


def test_with_soft_gates_the_embedding_goes_to_the_frozen_one_with_the_null_gate():
    embed, frozen, trainable = embedder(models.config("dalora", router="block:1", **SETTINGS))
    images = models.images()
    plain, _, _ = embedder(models.config("none"))
    expected = plain(frozen, {}, images).embedding
    away = []
    for more in (0.0, 5.0, 10.0, 100.0):
        changed = trainable | {"router": jax.tree.map(jnp.copy, trainable["router"])}
        changed["router"]["fc2"]["bias"] += jnp.array([0, 0, more])
        away.append(models.relative(embed(frozen, changed, images).embedding, expected))
    assert away == sorted(away, reverse=True) and away[0] > 0.01 and away[-1] == 0


def test_the_null_expert_has_no_ranks_and_takes_its_share_off_the_shared_ones():
    ranks = rank_gates(jnp.array([[0.5, 0.2, 0.3], [0, 0, 1]]), 2, 1, null=True)
    np.testing.assert_allclose(ranks, [[0.7, 0.5, 0.5, 0.2, 0.2], [0, 0, 0, 0, 0]], atol=1e-6)


def test_neither_it_nor_blocks_before_the_router_have_parameters():
    """Of three gates two have an expert; of three blocks the router, after the first, leaves two."""
    null, plain = (models.config("dalora", router="block:1", num_domains=n).adapter for n in (3, 2))
    null = dataclasses.replace(null, null_expert=True)
    count = lora.count_parameters(models.SPEC, null)
    assert count * 3 == lora.count_parameters(models.SPEC, plain) * 2
    everywhere = dataclasses.replace(null, router="frozen")
    assert lora.count_parameters(models.SPEC, everywhere) == lora.count_parameters(models.SPEC, plain)
    own = yardstick.plain_adapter(null)
    assert own is not None and own.rank == 2 * null.rank


def test_hard_gates_are_one_and_zero_exactly_and_learn_as_the_soft_ones():
    logits = jnp.asarray(np.random.default_rng(0).standard_normal((6, 3)), jnp.float32)
    worth = jnp.asarray(np.random.default_rng(1).standard_normal((6, 3)), jnp.float32)

    def value(logits, form):
        return jnp.sum(form(jax.nn.softmax(logits)) * worth)

    hard = router.top_gate(jax.nn.softmax(logits))
    assert np.array_equal(hard, np.eye(3, dtype=np.float32)[np.argmax(logits, axis=1)])
    slopes = [jax.grad(value)(logits, form) for form in (router.top_gate, lambda gate: gate)]
    np.testing.assert_allclose(*slopes, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"adapter.kind": "lora", "adapter.null_expert": True}, "adapter.null_expert: adapter.kind=lora has no gates"),
        ({"adapter.kind": "lora", "adapter.gate": "top1"}, "adapter.gate: adapter.kind=lora has no gates"),
        ({"adapter.null_expert": True, "backbone.train_patch_embed": True}, "backbone.train_patch_embed: "),
        ({"adapter.null_expert": True, "adapter.init_from": "somewhere"}, "adapter.init_from: "),
        ({"adapter.null_weight": 3.0}, "adapter.null_weight: is for adapter.null_expert, which is off"),
        ({"adapter.router": "frozen", "adapter.router_input": "mean_std"}, "adapter.router_input: mean_std is of "),
    ],
)
def test_settings_that_cannot_keep_the_frozen_model_are_refused(changes, said):
    config = overrides.defaults()
    config.adapter.kind = "dalora"
    config.update_from_flattened_dict(changes)
    with pytest.raises(InputError, match=f"^{said}"):
        overrides.freeze(config)


@pytest.mark.parametrize("form", ["merged", "peft"])
def test_neither_merged_weights_nor_peft_can_express_it(form):
    model = SimpleNamespace(recognizer=SimpleNamespace(config=models.config("dalora", null_expert=True)))
    with pytest.raises(InputError, match=f"^--format={form}: the run has adapter.null_expert"):
        refuse_null(model, form)


def test_blocks_before_the_router_cannot_be_named():
    settings = models.config("dalora", router="block:2", null_expert=True, blocks=("1-2",))
    with pytest.raises(InputError, match=r"^adapter\.blocks: 1 is before the router"):
        models.build(settings)
