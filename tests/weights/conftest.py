"""Tiny rows besides the known backbones, and their goldens from transformers."""

from __future__ import annotations

import numpy as np
import pytest

from adaptface_jax.core import trees
from adaptface_jax.models.specs import BACKBONES, BackboneSpec
from adaptface_jax.weights.names import engine
from tests import made_towers


@pytest.fixture(autouse=True)
def tiny_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, spec in made_towers.rows().items():
        monkeypatch.setitem(BACKBONES, name, spec)


@pytest.fixture
def made_tree():
    """made_tree(spec): every leaf with different random float32 numbers."""

    def made(spec: BackboneSpec) -> dict:
        rng = np.random.default_rng(0)
        shapes = engine.tree_shapes(spec).items()
        return trees.unflatten({path: rng.standard_normal(shape, dtype=np.float32) for path, shape in shapes})

    return made
