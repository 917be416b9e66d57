"""Cross-entropy of classes, and of binary attributes."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import optax

# The first loss of a new model is this close to chance.
TOLERANCE = 0.05


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The loss of each image in nats, float32 [B].

    logits: float32 [B, C]. labels: int [B], classes; or int [B, C] of 0 and 1, attributes: the mean of their
    binary cross-entropies.
    """
    if labels.ndim == 1:
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, labels.astype(logits.dtype)), axis=1)


def right(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The share of each image's decisions that are correct, float32 [B]: 1 or 0 for a class."""
    if labels.ndim == 1:
        return (jnp.argmax(logits, axis=1) == labels).astype(jnp.float32)
    return jnp.mean(((logits > 0) == (labels > 0)).astype(jnp.float32), axis=1)


def expected_loss(outputs: int, multi_label: bool) -> tuple[float, float]:
    """The loss of a model at chance, log C or log 2, and a third of the TOLERANCE around it."""
    mean = math.log(2 if multi_label else outputs)
    return mean, TOLERANCE / 3 * mean
