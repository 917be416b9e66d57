# SPDX-License-Identifier: Apache-2.0
"""After the backbone: the embedding head, and the class centers that training compares embeddings with."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from adaptface_jax.distributed.mesh import class_rows, sharding
from adaptface_jax.models.layers.dense import Linear, init_linear
from adaptface_jax.models.specs import BackboneSpec


def head_kind(kind: str, spec: BackboneSpec) -> str:
    """`linear` or `none`; `auto` is none if the backbone is a face model, whose feature already is an embedding."""
    if kind != "auto":
        return kind
    return "linear" if spec.embedding is None else "none"


def init_head(key: jax.Array, feature_dim: int, embedding_dim: int) -> Linear:
    """The head Linear(feature_dim -> embedding_dim), float32."""
    return init_linear(key, feature_dim, embedding_dim)


def init_centers(key: jax.Array, num_classes: int, dim: int, mesh: Mesh | None = None) -> jax.Array:
    """Class centers ~ N(0, 0.01^2), float32 [C, dim]; only their direction matters.

    mesh: whose `model` axis they are split over, with rows of zeros at the end so that it divides them. Each device
    draws its own rows, which have the same values on every mesh.
    """
    if mesh is None:
        return 0.01 * jax.random.normal(key, (num_classes, dim))
    rows = class_rows(mesh, num_classes)

    def draw(data: jax.Array) -> jax.Array:
        # Without the barrier the compiler merges 0.01 with a factor of the normal's, and the last bits change.
        values = 0.01 * jax.lax.optimization_barrier(jax.random.normal(jax.random.wrap_key_data(data), (rows, dim)))
        return jnp.where(jnp.arange(rows)[:, None] < num_classes, values, 0)

    data = jax.device_put(jax.random.key_data(key), sharding(mesh))  # numbers can be placed over several processes
    return jax.jit(draw, out_shardings=sharding(mesh, "class"))(data)
