# SPDX-License-Identifier: Apache-2.0
"""Adapters for the tests of PEFT folders: their values, what they change, and how they are written."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from adaptface_jax.core import trees
from adaptface_jax.export.peft import write_peft
from adaptface_jax.models.adapters import lora
from adaptface_jax.models.recognizer import Recognizer
from adaptface_jax.models.specs import BackboneSpec
from adaptface_jax.training.recognition.model import Model
from tests import made_models as models
from tests.made_weights import TINY

DINOV2 = TINY["tiny_reg4"]
CLIP = dataclasses.replace(TINY["tiny_clip"], projection=None)


def config(kind: str = "lora", patch: bool = False, folder: Path | str = "", **adapter):
    made = models.config(kind, init_from=str(folder), **adapter)
    return models.replace(made, "backbone", train_patch_embed=patch)


def values(wanted, spec: BackboneSpec, seed: int = 0) -> dict:
    """A trainable tree as from `Recognizer.init`, with noise in every leaf that is not always zero."""
    rng = np.random.default_rng(seed)
    rank, held = lora.width(wanted.adapter), lora.ranks_held(spec, wanted.adapter)

    def noise(*shape):
        return rng.standard_normal(shape, dtype=np.float32)

    def linear(din, dout):
        return {"kernel": noise(din, dout), "bias": noise(dout)}

    shapes = lora.target_shapes(spec, wanted.adapter.targets)
    tree = {
        "adapter": {
            name: {
                "a": noise(spec.depth, din, rank) * held[name][:, None],
                "b": noise(spec.depth, rank, dout) * held[name][..., None],
            }
            for name, (din, dout) in shapes.items()
        },
        "head": linear(spec.width, wanted.head.embedding_dim),
    }
    if wanted.adapter.kind == "dalora":
        seen = spec.width * (2 if wanted.adapter.router_input == "mean_std" else 1)
        tree["router"] = {"fc1": linear(seen, 256), "fc2": linear(256, wanted.adapter.num_domains)}
    if wanted.backbone.train_patch_embed:
        patch = {"kernel": noise(spec.patch_size**2 * 3, spec.width)}
        tree["backbone"] = {"patch_embed": patch | ({"bias": noise(spec.width)} if spec.patch_bias else {})}
    return tree


def fresh(wanted, spec: BackboneSpec) -> dict:
    """The same, with B zero as at the start of a run."""
    tree = values(wanted, spec, seed=9)
    tree["adapter"] = {name: {"a": f["a"], "b": np.zeros_like(f["b"])} for name, f in tree["adapter"].items()}
    return tree


def export(folder: Path, wanted, spec: BackboneSpec, layout: str = "v5") -> dict:
    """Write a run's values as PEFT folders; returns the values."""
    tree = values(wanted, spec)
    folder.mkdir(parents=True, exist_ok=True)
    rule = "bicubic_antialias" if spec.registers else "bicubic"
    identity = {"source": "owner/name", "sha256": "0" * 64, "position_rule": rule}
    write_peft(Model(Recognizer(spec, wanted, np.float32), {}, tree, identity), folder, layout=layout)
    return tree


def update(wanted, factors: dict, spec: BackboneSpec, expert: int = 0) -> dict[str, np.ndarray]:
    """The change of every layer's weights by one expert, float64 [L, in, out], q, k and v as parts of qkv."""
    rank = wanted.adapter.rank
    columns = slice(expert * rank, (expert + 1) * rank)
    result: dict[str, np.ndarray] = {}
    for name, f in factors.items():
        a, b = (np.asarray(f[x], np.float64) for x in "ab")
        change = lora.scale(wanted.adapter) * np.einsum("lir,lro->lio", a[..., columns], b[:, columns])
        if name in ("q", "k", "v"):
            whole = result.setdefault("qkv", np.zeros((spec.depth, spec.width, 3 * spec.width)))
            start = "qkv".index(name) * spec.width
            whole[..., start : start + spec.width] += change
        else:
            result[name] = change
    return result


def assert_same_update(ours: dict, theirs: dict) -> None:
    for name in ours.keys() | theirs.keys():
        zero = np.zeros_like(ours[name] if name in ours else theirs[name])
        np.testing.assert_allclose(ours.get(name, zero), theirs.get(name, zero), atol=2e-5, rtol=1e-5)


def assert_equal(ours, theirs) -> None:
    assert trees.flatten(ours).keys() == trees.flatten(theirs).keys()
    for path, leaf in trees.flatten(theirs).items():
        np.testing.assert_array_equal(trees.flatten(ours)[path], leaf, err_msg=path)


ALL = ("qkv", "proj", "fc1", "fc2")
