# SPDX-License-Identifier: Apache-2.0
"""The domain classifier of DA-LoRA: one weight per expert for every image, and losses that keep the experts in use."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from adaptface_jax.models.layers.dense import Linear, init_linear, linear

HIDDEN = 256
DROPOUT = 0.1


def init_router(key: jax.Array, dim: int, num_domains: int) -> dict[str, Linear]:
    """{"fc1": [dim, 256], "fc2": [256, K]}, float32."""
    first, second = jax.random.split(key)
    return {"fc1": init_linear(first, dim, HIDDEN), "fc2": init_linear(second, HIDDEN, num_domains)}


def gate_logits(router: dict[str, Linear], features: jax.Array, key: jax.Array | None = None) -> jax.Array:
    """MLP of features [B, dim] in float32 -> [B, K]; `key` switches dropout on."""
    hidden = jax.nn.relu(linear(router["fc1"], features.astype(jnp.float32)))
    if key is not None:
        keep = jax.random.bernoulli(key, 1 - DROPOUT, hidden.shape)
        hidden = jnp.where(keep, hidden / (1 - DROPOUT), 0)
    return linear(router["fc2"], hidden)


def gates(router: dict[str, Linear], features: jax.Array, key: jax.Array | None = None) -> jax.Array:
    """softmax of the gate logits: float32 [B, K], rows sum to 1, every row from its own image only."""
    return jax.nn.softmax(gate_logits(router, features, key))


def top_gate(gate: jax.Array) -> jax.Array:
    """1 for the largest gate of each image and 0 for the others, exactly; its gradient is that of the gates.

    Straight-through (arXiv 1308.3432). Every expert is computed, so that those that were not chosen get a gradient
    too: Switch (arXiv 2101.03961) computes only the chosen one, multiplies it by its gate and learns nothing about the
    others.
    """
    hard = jax.nn.one_hot(jnp.argmax(gate, axis=-1), gate.shape[-1], dtype=gate.dtype)
    return hard + (gate - jax.lax.stop_gradient(gate))


def balance(gate: jax.Array, weight: jax.Array) -> jax.Array:
    """K * sum_k mean(w_k)^2 - 1 over the batch: 0 when the experts are used evenly, K - 1 when one takes all.

    gate [B, K]; weight [B], of mean 1: the weight of each image.
    """
    return gate.shape[-1] * jnp.sum(jnp.square(jnp.mean(gate * weight[:, None], axis=0))) - 1


def entropy(gate: jax.Array, weight: jax.Array) -> jax.Array:
    """Mean entropy of the gates in nats: log K if uniform, 0 if each image has one expert; as for `balance`."""
    return jnp.mean(-jnp.sum(gate * weight[:, None] * jnp.log(jnp.maximum(gate, 1e-20)), axis=-1))


def old_or_new_loss(old: jax.Array, new: jax.Array | None, weight: jax.Array, old_weight: float = 1.0) -> jax.Array:
    """The loss of a null expert's gate: mean of -log of its gate over old images, of -log of the rest over new ones.

    old: gates [B', K]. new: gates [B, K], or None if labels supervise them. weight [B], of mean 1. old_weight: how many
    new images one old one counts; the gates are then even where an image is as much likelier to be new.
    """
    loss = -old_weight * jnp.mean(jnp.log(jnp.maximum(old[:, -1], 1e-20)))
    if new is None:
        return loss
    return loss - jnp.mean(weight * jnp.log(jnp.maximum(jnp.sum(new[:, :-1], axis=1), 1e-20)))


def domain_loss(gate: jax.Array, target: jax.Array) -> jax.Array:
    """Mean cross-entropy of the gates [B, K] on their targets [B, K]: rows of sum 1; rows of zeros are ignored."""
    known = jnp.sum(target, axis=-1) > 0
    logits = jnp.log(jnp.maximum(gate, 1e-20))
    losses = jax.nn.logsumexp(logits, axis=-1) - jnp.sum(target * logits, axis=-1)
    return jnp.sum(jnp.where(known, losses, 0)) / jnp.maximum(jnp.sum(known), 1)
