"""Margin softmax losses on the cosines of unit embeddings and unit class centres, all in float32.

Sources: CosFace (arXiv 1801.09414), ArcFace (1801.07698, with InsightFace's monotonic continuation beyond pi - m),
AdaFace (2204.00964), and the combined margin cos(m1 t + m2) - m3 of ArcFace's section 3.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from adaptface_jax.config.schema import LossConfig

ADAFACE_H = 0.333
ADAFACE_MOMENTUM = 0.99
EPS = 1e-3


class NormStatistics(NamedTuple):
    """AdaFace's running mean and standard deviation of the embedding norms (float32 scalars)."""

    mean: jax.Array
    std: jax.Array


class MarginOutput(NamedTuple):
    """loss [B]; target_cosine [B], before the margin; margin [B], what it takes off that cosine; statistics for the
    next step."""

    loss: jax.Array
    target_cosine: jax.Array
    margin: jax.Array
    statistics: NormStatistics


def init_statistics() -> NormStatistics:
    """AdaFace's published starting values."""
    return NormStatistics(jnp.float32(20.0), jnp.float32(100.0))


def unit(x: jax.Array) -> jax.Array:
    """Rows scaled to length 1 (rows of zeros stay zero)."""
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(x), axis=-1, keepdims=True), 1e-24))


def target_with_margin(
    config: LossConfig, cosine: jax.Array, norms: jax.Array, statistics: NormStatistics
) -> jax.Array:
    """The target's cosine [B] after the margin."""
    if config.name == "cosface":
        return cosine - config.margin
    if config.name == "arcface":
        m = config.margin
        sine = jnp.sqrt(jnp.maximum(1 - jnp.square(cosine), 1e-12))
        shifted = cosine * math.cos(m) - sine * math.sin(m)
        return jnp.where(cosine > math.cos(math.pi - m), shifted, cosine - m * math.sin(m))
    if config.name == "combined":
        m1, m2, m3 = config.margins
        return jnp.cos(jnp.clip(m1 * angle(cosine) + m2, 0, math.pi)) - m3
    quality = jnp.clip(ADAFACE_H * (norms - statistics.mean) / (statistics.std + EPS), -1, 1)
    shifted = jnp.clip(angle(cosine) - config.margin * quality, EPS, math.pi - EPS)
    return jnp.cos(shifted) - config.margin * (1 + quality)


def angle(cosine: jax.Array) -> jax.Array:
    """arccos away from +-1, where its gradient is infinite."""
    return jnp.arccos(jnp.clip(cosine, -1 + EPS * EPS, 1 - EPS * EPS))


def update_statistics(statistics: NormStatistics, norms: jax.Array) -> NormStatistics:
    """Moving averages over the batch, as AdaFace keeps them (sample standard deviation)."""
    old, new = ADAFACE_MOMENTUM, 1 - ADAFACE_MOMENTUM
    return NormStatistics(
        old * statistics.mean + new * jnp.mean(norms), old * statistics.std + new * jnp.std(norms, ddof=1)
    )


def quality_norms(
    config: LossConfig, embeddings: jax.Array, statistics: NormStatistics
) -> tuple[jax.Array, NormStatistics]:
    """AdaFace's norms [B] of raw embeddings [B, d], clipped and without gradient, and the statistics with them; ones
    and the statistics as they are for the other margins."""
    if config.name != "adaface":
        return jnp.ones(embeddings.shape[0], jnp.float32), statistics
    norms = jnp.clip(jax.lax.stop_gradient(jnp.linalg.norm(embeddings, axis=-1)), 0.001, 100)
    return norms, update_statistics(statistics, norms)


def product_dtype(config: LossConfig) -> Any:
    """The dtype of `loss.dtype`."""
    on_cpu = config.dtype == "auto" and jax.default_backend() == "cpu"
    return jnp.float32 if on_cpu or config.dtype == "float32" else jnp.bfloat16


def product(a: jax.Array, b: jax.Array, dtype: Any) -> jax.Array:
    """a @ b, float32: of float32 matrices exactly, else rounded to `dtype` with float32 sums."""
    if dtype == jnp.float32:
        return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
    return jnp.matmul(a.astype(dtype), b.astype(dtype), preferred_element_type=jnp.float32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def cosines(rows: jax.Array, classes: jax.Array, dtype: Any) -> jax.Array:
    """[B, C] of unit rows [B, d] and unit classes [C, d]; the products of its gradient are in `dtype` too."""
    return product(rows, classes.T, dtype)


def _cosines(rows: jax.Array, classes: jax.Array, dtype: Any) -> tuple:
    return product(rows, classes.T, dtype), (rows, classes)


def _cosines_gradient(dtype: Any, kept: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple:
    rows, classes = kept
    return product(gradient, classes, dtype), product(gradient.T, rows, dtype)


cosines.defvjp(_cosines, _cosines_gradient)


def margin_loss(
    config: LossConfig,
    embeddings: jax.Array,
    centres: jax.Array,
    labels: jax.Array,
    statistics: NormStatistics,
    weights: jax.Array | None = None,
) -> MarginOutput:
    """Cross-entropy of s * (cosines, the target's after its margin).

    embeddings [B, d] raw (normalised here), centres [C, d], labels int [B]. weights: float32 [C], of each class's
    exponential in the sum, where the classes are a sample (1 for those of `labels`); None: 1.
    """
    embeddings = embeddings.astype(jnp.float32)
    cosine = cosines(unit(embeddings), unit(centres), product_dtype(config))
    target = jnp.take_along_axis(cosine, labels[:, None], axis=1)[:, 0]
    norms, statistics = quality_norms(config, embeddings, statistics)
    is_target = labels[:, None] == jnp.arange(cosine.shape[1])[None, :]
    shifted = target_with_margin(config, target, norms, statistics)
    logits = config.scale * jnp.where(is_target, shifted[:, None], cosine)
    if weights is not None:
        logits += jnp.log(weights)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return MarginOutput(losses, target, target - shifted, statistics)
