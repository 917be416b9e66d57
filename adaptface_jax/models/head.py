"""After the backbone: the embedding head, and the class centers that training compares embeddings with."""

from __future__ import annotations

import jax

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


def init_centers(key: jax.Array, num_classes: int, dim: int) -> jax.Array:
    """Class centers ~ N(0, 0.01^2), float32 [C, dim]; only their direction matters."""
    return 0.01 * jax.random.normal(key, (num_classes, dim))
