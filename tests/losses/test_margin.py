"""Margin losses against plain float64 formulas."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.config.schema import LossConfig
from adaptface_jax.losses.first_loss import expected_first_loss
from adaptface_jax.losses.margin import MARGINS, NormStatistics, init_statistics, margin_loss
from adaptface_jax.models.head import init_centers

RNG = np.random.default_rng(0)
EMBEDDINGS = RNG.standard_normal((6, 8)) * RNG.uniform(0.5, 30, (6, 1))
CENTERS = RNG.standard_normal((5, 8))
LABELS = np.array([0, 1, 2, 3, 4, 0])


def test_every_loss_that_can_be_chosen_has_a_margin():
    assert set(LossConfig.__dataclass_fields__["name"].metadata["choices"]) == set(MARGINS)


def reference(config: LossConfig) -> tuple[np.ndarray, np.ndarray]:
    """Losses and target cosines in float64, from the papers' formulas."""
    norms = np.linalg.norm(EMBEDDINGS, axis=1)
    cosine = (EMBEDDINGS / norms[:, None]) @ (CENTERS / np.linalg.norm(CENTERS, axis=1, keepdims=True)).T
    target = cosine[np.arange(6), LABELS]
    theta = np.arccos(target)
    if config.name == "cosface":
        shifted = target - config.margin
    elif config.name == "arcface":
        beyond = theta > math.pi - config.margin
        shifted = np.where(beyond, target - config.margin * math.sin(config.margin), np.cos(theta + config.margin))
    elif config.name == "combined":
        m1, m2, m3 = config.margins
        shifted = np.cos(np.minimum(m1 * theta + m2, math.pi)) - m3
    else:
        safe = np.clip(norms, 0.001, 100)
        mean, std = 0.99 * 20 + 0.01 * safe.mean(), 0.99 * 100 + 0.01 * safe.std(ddof=1)
        quality = np.clip(0.333 * (safe - mean) / (std + 1e-3), -1, 1)
        angle = np.clip(theta - config.margin * quality, 1e-3, math.pi - 1e-3)
        shifted = np.cos(angle) - (config.margin + config.margin * quality)
    logits = config.scale * cosine
    logits[np.arange(6), LABELS] = config.scale * shifted
    peak = logits.max(axis=1)
    total = peak + np.log(np.exp(logits - peak[:, None]).sum(axis=1))
    return total - config.scale * shifted, target


@pytest.mark.parametrize("name", ["cosface", "arcface", "adaface", "combined"])
def test_the_value_is_the_papers_formula(name):
    config = LossConfig(name=name, scale=32.0, margin=0.4)
    out = margin_loss(
        config, jnp.asarray(EMBEDDINGS, jnp.float32), jnp.asarray(CENTERS, jnp.float32), LABELS, init_statistics()
    )
    losses, target = reference(config)
    assert np.allclose(out.loss, losses, rtol=2e-5, atol=2e-5)
    assert np.allclose(out.target_cosine, target, atol=1e-6)


@pytest.mark.parametrize("name", ["cosface", "arcface", "adaface", "combined"])
def test_gradients_are_finite_at_the_extremes(name):
    config = LossConfig(name=name)
    same, opposite = jnp.eye(2), -jnp.eye(2)
    for embeddings in (same, opposite, jnp.zeros((2, 2))):
        gradient = jax.grad(
            lambda e: margin_loss(config, e, jnp.eye(2), jnp.arange(2), init_statistics()).loss.sum()
        )(embeddings)  # fmt: skip
        assert np.isfinite(gradient).all()


def test_loss_does_not_depend_on_lengths():
    config = LossConfig()
    args = (LABELS, init_statistics())
    one = margin_loss(config, jnp.asarray(EMBEDDINGS), jnp.asarray(CENTERS), *args).loss
    two = margin_loss(config, jnp.asarray(EMBEDDINGS * 7), jnp.asarray(CENTERS * 0.01), *args).loss
    assert np.allclose(one, two, rtol=1e-5)


def test_adaface_keeps_moving_averages_of_the_norms():
    out = margin_loss(
        LossConfig(name="adaface"), jnp.asarray(EMBEDDINGS), jnp.asarray(CENTERS), LABELS, init_statistics()
    )
    norms = np.linalg.norm(EMBEDDINGS, axis=1)
    assert out.statistics.mean == pytest.approx(0.99 * 20 + 0.01 * norms.mean(), rel=1e-5)
    assert out.statistics.std == pytest.approx(0.99 * 100 + 0.01 * norms.std(ddof=1), rel=1e-5)
    other = margin_loss(LossConfig(), jnp.asarray(EMBEDDINGS), jnp.asarray(CENTERS), LABELS, init_statistics())
    assert other.statistics == NormStatistics(20.0, 100.0)


@pytest.mark.parametrize(
    ("classes", "dim", "scale"),
    [(10_572, 512, 16.0), (85_742, 512, 32.0)],
)
def test_expected_first_loss_meets_the_limit_for_many_classes(classes, dim, scale):
    # C much larger than exp(s^2 / d): log(C - 1) + s^2 / (2d) + s m
    config = LossConfig(scale=scale)
    mean, std = expected_first_loss(config, classes, dim, 128)
    assert mean == pytest.approx(math.log(classes - 1) + scale**2 / (2 * dim) + scale * config.margin, abs=0.1)
    assert 0 < std < 1


def test_expected_first_loss_of_the_published_recipe():
    # 35.67 by the limit formula; the original's first batch had 35.55
    mean, std = expected_first_loss(LossConfig(), 10_572, 512, 128)
    assert mean == pytest.approx(35.6, abs=0.25)
    assert abs(35.55 - mean) < 3 * std


@pytest.mark.parametrize("name", ["cosface", "arcface", "combined"])
def test_expected_first_loss_equals_the_loss_of_random_embeddings(name):
    config = LossConfig(name=name, scale=30.0)
    rng = np.random.default_rng(1)
    losses = []
    for i in range(8):
        centers = init_centers(jax.random.key(i), 400, 64)
        embeddings = jnp.asarray(rng.standard_normal((64, 64)), jnp.float32)
        labels = jnp.asarray(rng.integers(400, size=64))
        losses.append(float(margin_loss(config, embeddings, centers, labels, init_statistics()).loss.mean()))
    mean, _ = expected_first_loss(config, 400, 64, 64)
    assert np.mean(losses) == pytest.approx(mean, abs=4 * np.std(losses) / math.sqrt(8) + 0.05)
