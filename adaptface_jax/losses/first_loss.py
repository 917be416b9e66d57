"""The expected first loss of a run: a simulation with random embeddings and centers."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from adaptface_jax.config.schema import LossConfig
from adaptface_jax.losses.margin import init_statistics, target_with_margin

DRAWS = 256
# With more classes than this each draw is more informative, and fewer are made.
MANY = 2**18


def expected_first_loss(
    config: LossConfig, num_classes: int, dim: int, batch_size: int, seed: int = 0, kept: int | None = None
) -> tuple[float, float]:
    """(mean, standard deviation) of the mean loss of a first batch.

    Cosines of a random unit embedding with random unit centers in d dimensions are independent draws of
    g / sqrt(g^2 + chi2(d - 1)). An untrained network maps all images of a batch to nearly one direction, so the
    images of a simulated batch share their embedding: the mean is the same as with independent ones, and the
    standard deviation is that of a real first batch. kept: how many classes a step samples
    (`losses.sampled`), if it does.
    """
    rng = np.random.default_rng(seed)
    there = num_classes if kept is None else kept
    means = np.empty(max(16, DRAWS * MANY // max(there, MANY)))
    centers = there * config.subcenters
    for i in range(len(means)):
        normal = rng.standard_normal(centers)
        cosine = normal / np.sqrt(normal**2 + rng.chisquare(dim - 1, centers))
        cosine = cosine.reshape(there, config.subcenters).max(axis=1)
        labels = rng.integers(num_classes, size=batch_size)
        weights = np.ones(there)
        if kept is not None:  # the batch's classes come first
            present, labels = np.unique(labels, return_inverse=True)
            weights[len(present) :] = (num_classes - len(present)) / (kept - len(present))
        target = cosine[labels]
        # MagFace's function of the norms is as uncertain as the norms are before the first step.
        norms = rng.uniform(config.magface[0], config.magface[1]) if config.name == "magface" else 20.0
        margin = config.margin + config.margin_std * rng.standard_normal(batch_size) if config.margin_std else None
        shifted = np.asarray(
            target_with_margin(
                config,
                jnp.asarray(target, jnp.float32),
                jnp.float32(norms),
                init_statistics(config.name),
                None if margin is None else jnp.asarray(margin, jnp.float32),
            ),
            np.float64,
        )
        if config.name == "curricularface":  # t is still 0; the targets are near their mean
            cosine = np.where(cosine > shifted.mean(), cosine**2, cosine)
            target = cosine[labels]
        # log-sum-exp over all classes with the target's term replaced by the shifted one
        top = config.scale * max(cosine.max(), shifted.max())
        total = (weights * np.exp(config.scale * cosine - top)).sum()
        others = total - np.exp(config.scale * target - top)
        target_term = np.exp(config.scale * shifted - top)
        # At very large scales both are negligible compared with the largest term.
        rest = np.maximum(np.maximum(others, 0) + target_term, np.finfo(float).tiny)
        losses = top + np.log(rest) - config.scale * shifted
        means[i] = losses.mean()
    return float(means.mean()), float(means.std())
