# SPDX-License-Identifier: Apache-2.0
"""Adapters of several models side by side: every image is embedded as by its own model."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.core.errors import InputError
from adaptface_jax.models import vit
from adaptface_jax.models.adapters import several
from adaptface_jax.models.recognizer import Recognizer
from tests import made_models as models
from tests.made_models import relative, replace

PLAIN = [
    models.config(rank=2, targets=("qkv", "proj")),
    models.config(rank=3, alpha=6.0, targets=("q", "v", "fc1"), use_rslora=True),
    models.config(rank=2, targets=("qkv", "fc2"), blocks=(0,), rank_pattern={"fc2": 4}),
    replace(models.config(rank=2, targets=("proj",)), "backbone", train_patch_embed=True),
    models.config("none"),
]
GATED = {"num_domains": 3, "rank": 2, "shared_rank": 1}
BLOCK = [
    models.config("dalora", router="block:1", **GATED),
    models.config("dalora", router="block:1", alpha=3.0, **GATED),
]
FROZEN = [dataclasses.replace(config, adapter=dataclasses.replace(config.adapter, router="frozen")) for config in BLOCK]


@functools.cache
def backbone():
    return models.made(vit.random_params(models.SPEC, models.SIZE, 0))


def built(configs):
    """The frozen backbone, and each model's recognizer and synthetic trainable tree."""
    recognizers = [Recognizer(models.SPEC, config, jnp.float32) for config in configs]
    trees = [models.made(one.init(backbone(), None)[1], seed) for seed, one in enumerate(recognizers)]
    return {"backbone": backbone()}, list(zip(recognizers, trees, strict=True))


def side_by_side(frozen, found, count=None):
    form = several.common([recognizer.config for recognizer, _ in found])
    trees = [several.alone(frozen, tree, one.config, form, models.SPEC) for one, tree in found]
    stack = several.slots(trees[0], count or len(trees))
    for place, tree in enumerate(trees):
        stack = several.put(stack, place, tree)
    return Recognizer(models.SPEC, form, jnp.float32), stack


GROUPS = [replace(config, "backbone", attention="each") for config in BLOCK]  # of images, as on one CPU


@pytest.mark.parametrize("configs", [PLAIN, BLOCK, FROZEN, GROUPS], ids=["lora", "block:1", "frozen", "groups"])
def test_every_image_is_embedded_as_by_its_own_model(configs):
    frozen, found = built(configs)
    recognizer, stack = side_by_side(frozen, found)
    pixels, which = models.images(2 * len(found)), np.arange(2 * len(found), dtype=np.int32) % len(found)
    together = jax.jit(recognizer.embed)(frozen, stack | {several.WHICH: which}, pixels)
    for place, (one, tree) in enumerate(found):
        alone = jax.jit(one.embed)(frozen, tree, pixels[which == place])
        for name in ("embedding", "feature", "gate"):
            if getattr(alone, name) is not None:
                assert relative(getattr(together, name)[which == place], getattr(alone, name)) < 1e-5, (place, name)


def test_places_that_are_empty_or_changed_touch_no_other():
    frozen, found = built(PLAIN[:2])
    recognizer, stack = side_by_side(frozen, found, count=4)
    embed = jax.jit(recognizer.embed)
    pixels, which = models.images(4), np.array([0, 1, 0, 1], np.int32)
    before = embed(frozen, stack | {several.WHICH: which}, pixels).embedding
    put = several.put(
        stack, 1, several.alone(frozen, models.made(found[0][1], 7), PLAIN[0], recognizer.config, models.SPEC)
    )
    after = embed(frozen, put | {several.WHICH: which}, pixels).embedding
    np.testing.assert_array_equal(after[::2], before[::2])
    assert relative(after[1::2], before[1::2]) > 0.01 and embed._cache_size() == 1


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (models.config(rank=2, targets=("fc1",)), "adapts fc1"),
        (models.config(rank=9, targets=("qkv",)), "has rank 9, above the limit 8"),
        (PLAIN[3], "trains the patch embedding"),
    ],
)
def test_adapters_that_do_not_fit_are_named(config, told):
    frozen, found = built([config])
    with pytest.raises(InputError, match=told):
        several.alone(frozen, found[0][1], config, several.common([PLAIN[0]]), models.SPEC)
