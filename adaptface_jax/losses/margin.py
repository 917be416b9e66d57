"""Margin softmax losses on the cosines of unit embeddings and unit class centers, all in float32.

Sources: CosFace (arXiv 1801.09414), ArcFace (1801.07698, with InsightFace's monotonic continuation beyond pi - m),
AdaFace (2204.00964), the combined margin cos(m1 t + m2) - m3 of ArcFace's section 3, CurricularFace (2004.00288),
MagFace (2103.06627). Also ElasticFace (2109.09416), whose margin is sampled for each image, and sub-centers
(Sub-center ArcFace, ECCV 2020): a class has several rows, and the one nearest to an image is its center.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from adaptface_jax.config.schema import LossConfig

ADAFACE_H = 0.333
MOMENTUM = 0.99
EPS = 1e-3


class NormStatistics(NamedTuple):
    """AdaFace's running mean and standard deviation of the embedding norms (float32 scalars); CurricularFace's t, the
    running mean of the target cosines, in `mean`."""

    mean: jax.Array
    std: jax.Array


class MarginOutput(NamedTuple):
    """loss [B]; target_cosine [B], before the margin; margin [B], how much it reduces that cosine; statistics for the
    next step; penalty [B], MagFace's on the norms, with its weight, or None."""

    loss: jax.Array
    target_cosine: jax.Array
    margin: jax.Array
    statistics: NormStatistics
    penalty: jax.Array | None = None


def init_statistics(name: str = "adaface") -> NormStatistics:
    """The published starting values of a loss."""
    return NormStatistics(*map(jnp.float32, (0.0, 0.0) if name == "curricularface" else (20.0, 100.0)))


def unit(x: jax.Array) -> jax.Array:
    """Rows scaled to length 1 (rows of zeros stay zero)."""
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(x), axis=-1, keepdims=True), 1e-24))


def target_with_margin(
    config: LossConfig,
    cosine: jax.Array,
    norms: jax.Array,
    statistics: NormStatistics,
    margin: jax.Array | None = None,
) -> jax.Array:
    """The target's cosine [B] after the margin. margin: float32 [B], sampled for each image; None: `config.margin`."""
    return MARGINS[config.name](config, cosine, norms, statistics, margin)


Margin = Callable[[LossConfig, jax.Array, jax.Array, NormStatistics, jax.Array | None], jax.Array]


def _cosface(
    config: LossConfig, cosine: jax.Array, norms: jax.Array, statistics: NormStatistics, margin: jax.Array | None
) -> jax.Array:
    return cosine - (config.margin if margin is None else margin)


def _arcface(
    config: LossConfig, cosine: jax.Array, norms: jax.Array, statistics: NormStatistics, margin: jax.Array | None
) -> jax.Array:
    m, of = (config.margin, math) if margin is None else (margin, jnp)
    sine = jnp.sqrt(jnp.maximum(1 - jnp.square(cosine), 1e-12))
    shifted = cosine * of.cos(m) - sine * of.sin(m)
    return jnp.where(cosine > of.cos(math.pi - m), shifted, cosine - m * of.sin(m))


def _magface(
    config: LossConfig, cosine: jax.Array, norms: jax.Array, statistics: NormStatistics, margin: jax.Array | None
) -> jax.Array:
    low, high, least, most, _ = config.magface
    return _arcface(config, cosine, norms, statistics, least + (most - least) * (norms - low) / (high - low))


def _combined(
    config: LossConfig, cosine: jax.Array, norms: jax.Array, statistics: NormStatistics, margin: jax.Array | None
) -> jax.Array:
    m1, m2, m3 = config.margins
    return jnp.cos(jnp.clip(m1 * angle(cosine) + m2, 0, math.pi)) - m3


def _adaface(
    config: LossConfig, cosine: jax.Array, norms: jax.Array, statistics: NormStatistics, margin: jax.Array | None
) -> jax.Array:
    quality = jnp.clip(ADAFACE_H * (norms - statistics.mean) / (statistics.std + EPS), -1, 1)
    shifted = jnp.clip(angle(cosine) - config.margin * quality, EPS, math.pi - EPS)
    return jnp.cos(shifted) - config.margin * (1 + quality)


# `loss.name` -> (config, cosine [B], norms [B], statistics, drawn margins or None) -> the target's cosine after it. A
# new margin is a row here and a choice of `loss.name` in the schema.
MARGINS: dict[str, Margin] = {
    "cosface": _cosface,
    "arcface": _arcface,
    "adaface": _adaface,
    "combined": _combined,
    "curricularface": _arcface,  # the same of the target: it hardens the others
    "magface": _magface,
}


def angle(cosine: jax.Array) -> jax.Array:
    """arccos, clipped away from +-1, where its gradient is infinite."""
    return jnp.arccos(jnp.clip(cosine, -1 + EPS * EPS, 1 - EPS * EPS))


def update_statistics(statistics: NormStatistics, norms: jax.Array) -> NormStatistics:
    """Moving averages over the batch, as in AdaFace (sample standard deviation)."""
    old, new = MOMENTUM, 1 - MOMENTUM
    return NormStatistics(
        old * statistics.mean + new * jnp.mean(norms), old * statistics.std + new * jnp.std(norms, ddof=1)
    )


def quality_norms(
    config: LossConfig, embeddings: jax.Array, statistics: NormStatistics
) -> tuple[jax.Array, NormStatistics]:
    """AdaFace's norms [B] of raw embeddings [B, d], clipped and without gradient, and the statistics with them;
    MagFace's, clipped, with their gradient; ones for the other margins, the statistics as they are."""
    if config.name == "magface":
        return jnp.clip(jnp.linalg.norm(embeddings, axis=-1), *config.magface[:2]), statistics
    if config.name != "adaface":
        return jnp.ones(embeddings.shape[0], jnp.float32), statistics
    norms = jnp.clip(jax.lax.stop_gradient(jnp.linalg.norm(embeddings, axis=-1)), 0.001, 100)
    return norms, update_statistics(statistics, norms)


def norm_penalty(config: LossConfig, norms: jax.Array) -> jax.Array | None:
    """MagFace's lambda_g g(a) [B], g(a) = 1 / a + a / u_a^2, of norms from `quality_norms`; None for others."""
    if config.name != "magface":
        return None
    _, high, _, _, weight = config.magface
    return weight * (1 / norms + norms / high**2)


def hardened(cosine: jax.Array, target: jax.Array, t: jax.Array) -> jax.Array:
    """CurricularFace's cosines [B, C] of the other classes: one that exceeds the shifted target [B] is multiplied by
    t plus itself."""
    hard = cosine > jax.lax.stop_gradient(target)[:, None]
    return jnp.where(hard, cosine * (t + cosine), cosine)


def drawn_margins(config: LossConfig, key: jax.Array | None, count: int) -> jax.Array | None:
    """ElasticFace's margins [count], from a normal distribution; None if all are the same."""
    if not config.margin_std:
        return None
    if key is None:
        raise ValueError("loss.margin_std needs a key")
    return config.margin + config.margin_std * jax.random.normal(key, (count,))


def rows_of_centers(config: LossConfig, centers: jax.Array) -> jax.Array:
    """Class centers [C, K d], whose K sub-centers are concatenated, as unit rows [C K, d]."""
    return unit(centers.reshape(centers.shape[0] * config.subcenters, -1))


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
    centers: jax.Array,
    labels: jax.Array,
    statistics: NormStatistics,
    weights: jax.Array | None = None,
    key: jax.Array | None = None,
) -> MarginOutput:
    """Cross-entropy of s * (cosines, the target's after its margin).

    embeddings [B, d] raw (normalized here), centers [C, d] (with K sub-centers [C, K d]), labels int [B]. key: of the
    margins, if they are sampled. weights: float32 [C], of each class's exponential in the sum, if the classes are
    sampled (1 for those of `labels`); None: 1.
    """
    embeddings = embeddings.astype(jnp.float32)
    cosine = cosines(unit(embeddings), rows_of_centers(config, centers), product_dtype(config))
    if config.subcenters > 1:
        cosine = jnp.max(cosine.reshape(len(cosine), -1, config.subcenters), axis=-1)
    target = jnp.take_along_axis(cosine, labels[:, None], axis=1)[:, 0]
    norms, statistics = quality_norms(config, embeddings, statistics)
    is_target = labels[:, None] == jnp.arange(cosine.shape[1])[None, :]
    shifted = target_with_margin(config, target, norms, statistics, drawn_margins(config, key, len(target)))
    others = cosine
    if config.name == "curricularface":
        t = MOMENTUM * statistics.mean + (1 - MOMENTUM) * jnp.mean(jax.lax.stop_gradient(target))
        statistics = statistics._replace(mean=t)
        others = hardened(cosine, shifted, t)
    logits = config.scale * jnp.where(is_target, shifted[:, None], others)
    if weights is not None:
        logits += jnp.log(weights)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return MarginOutput(losses, target, target - shifted, statistics, norm_penalty(config, norms))
