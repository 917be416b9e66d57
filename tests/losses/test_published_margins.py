"""CurricularFace, MagFace, ElasticFace and sub-center ArcFace against their papers' formulas in float64."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.config import overrides
from adaptface_jax.config.schema import LossConfig
from adaptface_jax.core.errors import InputError
from adaptface_jax.distributed.mesh import make_mesh
from adaptface_jax.losses.first_loss import expected_first_loss
from adaptface_jax.losses.margin import drawn_margins, init_statistics, margin_loss
from adaptface_jax.losses.sharded import check_classes_fit, class_loss
from adaptface_jax.models.head import init_centers

RNG = np.random.default_rng(0)
EMBEDDINGS = RNG.standard_normal((6, 8)) * RNG.uniform(2, 60, (6, 1))
EMBEDDINGS[0] *= 5 / np.linalg.norm(EMBEDDINGS[0])
CENTERS = RNG.standard_normal((5, 8))
LABELS = np.array([0, 1, 2, 3, 4, 0])
S = 32.0
KEY = jax.random.key(3)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def cross_entropy(cosine, target):
    """-log of exp(s target) over that plus the other classes' exp(s cosine), [B]."""
    logits = S * cosine
    logits[np.arange(6), LABELS] = S * target
    peak = logits.max(axis=1)
    return peak + np.log(np.exp(logits - peak[:, None]).sum(axis=1)) - S * target


def added(cosine, m):
    """cos(theta + m) of the target [B]; beyond pi - m ArcFace's code continues with cos(theta) - m sin(m)."""
    theta = np.arccos(cosine[np.arange(6), LABELS])
    return np.where(theta > math.pi - m, np.cos(theta) - m * np.sin(m), np.cos(theta + m))


def found(config, centers=CENTERS, statistics=None):
    statistics = init_statistics(config.name) if statistics is None else statistics
    return jax.jit(margin_loss, static_argnums=0)(
        config, jnp.float32(EMBEDDINGS), jnp.float32(centers), LABELS, statistics, None, KEY
    )


def test_curricularface():
    """Equations 4 to 10: N(t, cos) = cos, or cos (t + cos) where it exceeds cos(theta + m); t = 0.99 t + 0.01 r."""
    config = LossConfig(name="curricularface", scale=S, margin=0.5)
    start = init_statistics(config.name)._replace(mean=jnp.float32(0.3))
    cosine = unit(EMBEDDINGS) @ unit(CENTERS).T
    t = 0.99 * 0.3 + 0.01 * cosine[np.arange(6), LABELS].mean()
    target = added(cosine, 0.5)
    hard = cosine > target[:, None]
    assert 0.2 < hard.mean() < 0.95
    out = found(config, statistics=start)
    np.testing.assert_allclose(
        out.loss, cross_entropy(np.where(hard, cosine * (t + cosine), cosine), target), rtol=1e-4
    )
    assert float(out.statistics.mean) == pytest.approx(t, rel=1e-5)
    assert init_statistics("curricularface").mean == 0


def test_magface():
    """Equations 3 and 8: m(a) linear between the bounds of a, and g(a) = 1 / a + a / u_a^2, both with gradients."""
    config = LossConfig(name="magface", scale=S)
    norms = np.clip(np.linalg.norm(EMBEDDINGS, axis=1), 10, 110)
    assert (norms == 10).any() and (norms > 10).any()
    margins = 0.45 + (0.8 - 0.45) * (norms - 10) / (110 - 10)
    out = found(config)
    np.testing.assert_allclose(
        out.loss, cross_entropy(c := unit(EMBEDDINGS) @ unit(CENTERS).T, added(c, margins)), rtol=1e-4
    )
    np.testing.assert_allclose(out.penalty, 35 * (1 / norms + norms / 110**2), rtol=1e-5)

    @jax.jit
    @jax.jacrev
    def slopes(length):
        rows = jnp.float32(unit(EMBEDDINGS)) * length
        out = margin_loss(config, rows, jnp.float32(CENTERS), LABELS, init_statistics())
        return jnp.stack([jnp.sum(out.loss), jnp.sum(out.penalty)])

    # A greater norm has a greater margin and costs more; less than 110 is penalized.
    of_loss, of_penalty = slopes(jnp.float32(40))
    assert of_loss > 0 > of_penalty


@pytest.mark.parametrize("name", ["cosface", "arcface"])
def test_elasticface(name):
    """Equations 5 and 6: the margin of each image is drawn from a normal distribution of mean m."""
    config = LossConfig(name=name, scale=S, margin=0.35, margin_std=0.05)
    margins = np.asarray(drawn_margins(config, KEY, 6), np.float64)
    cosine = unit(EMBEDDINGS) @ unit(CENTERS).T
    shifted = cosine[np.arange(6), LABELS] - margins if name == "cosface" else added(cosine, margins)
    np.testing.assert_allclose(found(config).loss, cross_entropy(cosine, shifted), rtol=1e-4)
    many = np.asarray(drawn_margins(config, KEY, 20_000))
    assert many.mean() == pytest.approx(0.35, abs=2e-3) and many.std() == pytest.approx(0.05, rel=0.03)


def test_subcenter_arcface():
    """Section 3: a class has K centers, and its cosine is the greatest of theirs."""
    config = LossConfig(name="arcface", scale=S, margin=0.5, subcenters=3)
    centers = RNG.standard_normal((5, 3, 8))
    cosine = np.einsum("bd,ckd->bck", unit(EMBEDDINGS), unit(centers)).max(axis=2)
    out = found(config, centers.reshape(5, 24))
    np.testing.assert_allclose(out.loss, cross_entropy(cosine, added(cosine, 0.5)), rtol=1e-4)


@pytest.mark.parametrize("config", [LossConfig(name="magface", scale=S), LossConfig(scale=S, margin_std=0.05)])
def test_class_by_class_is_the_same(config):
    """Margins that need no other class's logits work with split and chunked classes."""
    rows, centers = jnp.float32(np.tile(EMBEDDINGS, (4, 1))[:8]), jnp.float32(CENTERS[[0, 1, 2, 3]])
    labels, statistics = jnp.arange(8) % 4, init_statistics()
    mesh = make_mesh(jax.devices()[:4], model=2)
    split = jax.jit(lambda e, c: class_loss(config, e, c, labels, statistics, mesh, None, KEY))(rows, centers)
    whole = jax.jit(lambda e, c: margin_loss(config, e, c, labels, statistics, None, KEY))(rows, centers)
    np.testing.assert_allclose(split.loss, whole.loss, rtol=1e-4, atol=1e-5)
    if config.name == "magface":
        np.testing.assert_allclose(split.penalty, whole.penalty, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "curricularface"}, "loss.name: curricularface needs"),
        ({"subcenters": 3}, "loss.subcenters: 3 centers"),
    ],
)
def test_what_needs_all_classes_is_refused_where_they_are_split(changes, said):
    config = LossConfig(**changes)
    check_classes_fit(config, 128, 100_000, make_mesh(jax.devices()[:1]))
    with pytest.raises(InputError, match=f"^{said}"):
        check_classes_fit(config, 128, 1000, make_mesh(jax.devices()[:2], model=2))
    with pytest.raises(InputError, match=f"^{said}"):
        check_classes_fit(dataclasses.replace(config, class_chunk=500), 128, 1000, make_mesh(jax.devices()[:1]))


@pytest.mark.parametrize(
    "config",
    [
        LossConfig(name="curricularface", margin=0.5),
        LossConfig(margin_std=0.05),
        LossConfig(name="arcface", margin=0.5, subcenters=3),
    ],
)
def test_the_expected_first_loss_is_that_of_random_embeddings(config):
    @jax.jit
    def loss(key):
        one, two, three, four = jax.random.split(key, 4)
        centers = init_centers(one, 400, 64 * config.subcenters)
        embeddings, labels = jax.random.normal(two, (64, 64)), jax.random.randint(three, (64,), 0, 400)
        return margin_loss(config, embeddings, centers, labels, init_statistics(config.name), None, four).loss.mean()

    mean, _ = expected_first_loss(config, 400, 64, 64)
    assert np.mean([loss(jax.random.key(i)) for i in range(40)]) == pytest.approx(mean, rel=0.015)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "adaface", "margin_std": 0.1}, "loss.margin_std: adaface has no margin to draw"),
        ({"name": "magface", "magface": (110.0, 10.0, 0.45, 0.8, 35.0)}, "loss.magface: "),
        ({"name": "combined", "margins": (1.0, 0.3)}, "loss.margins: "),
    ],
)
def test_invalid_margin_settings_are_refused(changes, said):
    config = overrides.defaults()
    config.loss.update(changes)
    with pytest.raises(InputError, match=f"^{said}"):
        overrides.freeze(config)
