"""Tiny rows beside the known backbones, and their goldens from transformers (tests/goldens/make_backbones.py)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from adaptface_jax import trees
from adaptface_jax.specs import BACKBONES, CLIP, BackboneSpec
from adaptface_jax.weights import engine

_DINOV2 = BackboneSpec("dinov2", 16, 2, 2, 64, 4, 20)
TINY = {
    "tiny_dinov2": _DINOV2,
    "tiny_reg4": dataclasses.replace(_DINOV2, registers=4),
    "tiny_swiglu": dataclasses.replace(_DINOV2, mlp="swiglu", mlp_width=48),
    "tiny_clip": BackboneSpec(
        "clip", 16, 2, 2, 64, 4, 20, activation="quick_gelu", norm_eps=1e-5, projection=24, stats=CLIP
    ),
}


@pytest.fixture(autouse=True)
def tiny_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, spec in TINY.items():
        monkeypatch.setitem(BACKBONES, name, spec)


@pytest.fixture(scope="session")
def goldens() -> Path:
    return Path(__file__).resolve().parents[1] / "goldens"


@pytest.fixture
def made_tree():
    """made_tree(spec): every leaf a different set of random float32 numbers."""

    def made(spec: BackboneSpec) -> dict:
        rng = np.random.default_rng(0)
        shapes = engine.tree_shapes(spec).items()
        return trees.unflatten({path: rng.standard_normal(shape, dtype=np.float32) for path, shape in shapes})

    return made
