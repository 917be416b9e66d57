"""Distillation of features from the frozen model, against forgetting."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from adaptface_jax.losses.margin import unit


def feature_distance(feature: jax.Array, frozen: jax.Array, weight: jax.Array) -> jax.Array:
    """Weighted mean of 1 - cos over the rows of two float32 [B, d], 0..2; 0 where all weights [B] are 0.

    The idea is of learning without forgetting (arXiv 1606.09282), the distance that of verification.
    """
    cosine = jnp.sum(unit(feature) * unit(frozen), axis=-1)
    return jnp.sum(weight * (1 - cosine)) / jnp.maximum(jnp.sum(weight), 1e-6)
