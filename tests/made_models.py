# SPDX-License-Identifier: Apache-2.0
"""Small models for tests: the demo backbone with synthetic weights, every leaf away from its initial value."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from adaptface_jax.config.schema import AdapterConfig, BackboneConfig, Config, HeadConfig, TrainConfig
from adaptface_jax.distributed.mesh import class_rows
from adaptface_jax.models import vit
from adaptface_jax.models.recognizer import Recognizer
from adaptface_jax.models.specs import BackboneSpec

# Two heads and three blocks: enough for every code path, quick to compile.
SPEC = BackboneSpec("dinov2", 32, 3, 2, 64, 14, 56, registers=2)
SIZE = 28


def config(kind: str = "lora", **adapter: Any) -> Config:
    """A config for SPEC; the name is only a label here."""
    adapter = {"rank": 4, "alpha": 8.0, "router": "block:1"} | adapter
    return Config(
        backbone=BackboneConfig(name="demo", image_size=SIZE),
        adapter=AdapterConfig(kind=kind, **adapter),
        head=HeadConfig(embedding_dim=16),
        train=TrainConfig(batch_size=16, learning_rate=1e-3),
    )


def made(tree: Any, seed: int = 0) -> Any:
    """Every leaf plus noise: biases, norms, layer scales and B factors are then far from 0 and 1."""
    leaves, structure = jax.tree.flatten(tree)
    rng = np.random.default_rng(seed)
    return structure.unflatten(
        [leaf + jnp.asarray(0.1 * rng.standard_normal(leaf.shape), leaf.dtype) for leaf in leaves]
    )


def build(
    settings: Config, classes: int | None = 10, dtype: Any = jnp.float32, spec: BackboneSpec = SPEC
) -> tuple[Recognizer, Any, Any]:
    """(recognizer, frozen, trainable) with a synthetic backbone."""
    recognizer = Recognizer(spec, settings, dtype)
    frozen, trainable = recognizer.init(made(vit.random_params(recognizer.built_spec, SIZE, 0)), classes)
    return recognizer, frozen, trainable


def padded(centers: jax.Array, mesh: Mesh) -> jax.Array:
    """Class centers [C, d] with rows of zeros at the end, so that the mesh's `model` axis divides them."""
    return jnp.pad(centers, ((0, class_rows(mesh, len(centers)) - len(centers)), (0, 0)))


def images(batch: int = 4, seed: int = 0) -> jax.Array:
    """Normalized images, float32 [B, SIZE, SIZE, 3]."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal((batch, SIZE, SIZE, 3)), jnp.float32)


def batch(size: int = 16, classes: int = 10, seed: int = 0) -> dict[str, np.ndarray]:
    """A host batch as from the pipeline."""
    rng = np.random.default_rng(seed)
    return {
        "image": rng.integers(0, 256, (size, 32, 32, 3), dtype=np.uint8),
        "label": rng.integers(0, classes, size).astype(np.int32),
        "domain": np.eye(4, 3, -1, np.float32)[rng.integers(-1, 3, size) + 1],
        "weight": np.ones(size, np.float32),
    }


def replace(settings: Config, section: str, **changes: Any) -> Config:
    """`settings` with some of one section's values changed."""
    return dataclasses.replace(
        settings, **{section: dataclasses.replace(getattr(settings, section), **changes)}
    )  # fmt: skip


def relative(a: Any, b: Any) -> float:
    """Greatest relative L2 distance of the rows of two arrays."""
    a, b = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (a, b))
    return float(np.max(np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)))


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def forward(graph: Any, params: Any, images: jax.Array, projected: bool = False, return_blocks: bool = False) -> Any:
    """The Features of a bare backbone; compiled once for each graph and shape."""
    return nnx.merge(graph, params)(images, projected=projected, return_blocks=return_blocks)
