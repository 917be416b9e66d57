# SPDX-License-Identifier: Apache-2.0
"""The blocks with kernels for GPUs equal the plain ones, in features, gates and gradients."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.core import trees
from adaptface_jax.models.layers.attend import FUSED
from adaptface_jax.models.recognizer import Recognizer
from tests import made_models as models

EVERY = ("q", "k", "v", "proj", "fc1", "fc2")


def judged(recognizer: Recognizer, frozen: Any, trainable: Any, attend: str, monkeypatch: Any) -> tuple:
    """Embeddings, gates and the gradients of the trainable tree."""
    monkeypatch.setattr(Recognizer, "attend", attend)

    def loss(trainable: Any) -> Any:
        out = recognizer.embed(frozen, trainable, models.images())
        return jnp.sum(jnp.sin(out.embedding)), out

    with jax.default_matmul_precision("highest"):
        (_, out), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(trainable)
    return out, trees.flatten(gradients)


@pytest.mark.parametrize(
    ("kind", "adapter"),
    [
        ("lora", {"targets": ("qkv", "proj")}),
        ("lora", {"targets": EVERY}),
        ("lora", {"targets": ("v",)}),
        ("dalora", {"targets": ("qkv", "proj", "fc1", "fc2"), "num_domains": 3}),
        ("dalora", {"targets": ("qkv",), "num_domains": 3, "shared_rank": 4, "null_expert": True, "gate": "top1"}),
        ("none", {}),
    ],
)
def test_equal_the_plain_blocks(kind: str, adapter: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer, frozen, trainable = models.build(models.config(kind, **adapter))
    trainable = models.made(trainable, seed=1)
    out, gradients = judged(recognizer, frozen, trainable, FUSED, monkeypatch)
    expected, wanted = judged(recognizer, frozen, trainable, "whole", monkeypatch)
    np.testing.assert_allclose(out.embedding, expected.embedding, rtol=2e-5, atol=2e-5)
    if kind == "dalora":
        np.testing.assert_allclose(out.gate, expected.gate, atol=1e-5)
    assert gradients.keys() == wanted.keys()
    for path, found in gradients.items():
        scale = np.linalg.norm(wanted[path])
        assert np.linalg.norm(found - wanted[path]) <= 2e-5 * scale + 1e-7, path
