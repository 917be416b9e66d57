# SPDX-License-Identifier: Apache-2.0
"""The blocks with kernels for GPUs equal the plain ones, in features, gates and gradients."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.core import trees
from adaptface_jax.distributed.mesh import make_mesh, sharding
from adaptface_jax.models.adapters import several
from adaptface_jax.models.layers.attend import ATTEND, FUSED, attend_whole
from adaptface_jax.models.recognizer import Recognizer
from tests import made_models as models

EVERY = ("q", "k", "v", "proj", "fc1", "fc2")


def judged(
    recognizer: Recognizer, frozen: Any, trainable: Any, attend: str, monkeypatch: Any, key: Any = None
) -> tuple:
    """Embeddings, gates, the gradients of the trainable tree, and what travels between devices; key: as in training."""
    monkeypatch.setattr(Recognizer, "attend", attend)
    images, shardings = models.images(8), {}
    if recognizer.mesh is not None:
        rows = sharding(recognizer.mesh, "batch")
        images, shardings = jax.device_put(images, rows), {"in_shardings": (sharding(recognizer.mesh), rows)}

    def loss(trainable: Any, images: Any) -> Any:
        out = recognizer.embed(frozen, trainable, images, key)
        return jnp.sum(jnp.sin(out.embedding)), out

    with jax.default_matmul_precision("highest"):
        program = jax.jit(jax.value_and_grad(loss, has_aux=True), **shardings).lower(trainable, images).compile()
    (_, out), gradients = program(trainable, images)
    travel = set(re.findall(r" (all-\w+|collective-\w+|reduce-scatter)\(", program.as_text()))
    return out, trees.flatten(gradients), travel


@pytest.mark.parametrize(
    ("kind", "adapter", "devices"),
    [
        ("lora", {"targets": EVERY}, 1),
        ("lora", {"targets": ("v",)}, 1),
        ("dalora", {"targets": ("qkv", "proj", "fc1", "fc2"), "num_domains": 3}, 1),
        ("dalora", {"targets": ("q", "v", "proj"), "num_domains": 3}, 8),
        ("dalora", {"targets": ("qkv",), "num_domains": 3, "shared_rank": 4, "null_expert": True, "gate": "top1"}, 1),
        ("none", {}, 1),
    ],
)
def test_equal_the_plain_blocks(kind: str, adapter: dict, devices: int, monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer, frozen, trainable = models.build(models.config(kind, **adapter))
    trainable = models.made(trainable, seed=1)
    split = dataclasses.replace(recognizer, mesh=make_mesh(jax.devices()[:devices]) if devices > 1 else None)
    out, gradients, travel = judged(split, frozen, trainable, FUSED, monkeypatch)
    expected, wanted, _ = judged(recognizer, frozen, trainable, "whole", monkeypatch)
    np.testing.assert_allclose(out.embedding, expected.embedding, rtol=2e-5, atol=2e-5)
    if kind == "dalora":
        np.testing.assert_allclose(out.gate, expected.gate, atol=1e-5)
    assert gradients.keys() == wanted.keys()
    for path, found in gradients.items():
        scale = np.linalg.norm(wanted[path])
        assert np.linalg.norm(found - wanted[path]) <= 2e-5 * scale + 1e-7, path
    # Devices share images: only sums of gradients travel.
    assert travel == ({"all-reduce"} if devices > 1 else set())


def test_recomputing_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = models.config("dalora", targets=("qkv", "proj"), num_domains=3)
    recognizer, frozen, trainable = models.build(models.replace(settings, "train", remat=True))
    trainable = models.made(trainable, seed=1)
    whole = Recognizer(recognizer.spec, settings, recognizer.dtype)
    key = jax.random.key(0)
    out, gradients, _ = judged(recognizer, frozen, trainable, FUSED, monkeypatch, key)
    expected, wanted, _ = judged(whole, frozen, trainable, FUSED, monkeypatch, key)
    np.testing.assert_allclose(out.embedding, expected.embedding, rtol=1e-5, atol=1e-5)
    for path, found in gradients.items():
        assert np.linalg.norm(found - wanted[path]) <= 1e-5 * np.linalg.norm(wanted[path]) + 1e-7, path


def test_images_with_adapters_of_their_own_go_through_the_plain_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    def calls(trainable: Any) -> int:
        text = str(jax.make_jaxpr(lambda t: recognizer.embed(frozen, t, models.images(2)).embedding)(trainable))
        return text.count("pallas_call")

    recognizer, frozen, trainable = models.build(models.config("lora"))
    monkeypatch.setattr(Recognizer, "attend", FUSED)
    assert calls(trainable) > 0
    monkeypatch.setitem(ATTEND, FUSED, attend_whole)
    stack = several.slots(trainable, 2)
    for place in range(2):
        stack = several.put(stack, place, trainable)
    assert calls(stack | {several.WHICH: jnp.arange(2)}) == 0
