# SPDX-License-Identifier: Apache-2.0
"""The measures that keep the experts alive."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from adaptface_jax.models.adapters import router
from adaptface_jax.models.vit import routed_by


def test_balance_is_zero_when_even_and_k_minus_one_when_one_expert_takes_all():
    assert router.balance(jnp.eye(3), jnp.ones(3)) == pytest.approx(0, abs=1e-6)
    assert router.balance(jnp.full((5, 3), 1 / 3), jnp.ones(5)) == pytest.approx(0, abs=1e-6)
    assert router.balance(jnp.tile(jnp.array([1.0, 0, 0]), (4, 1)), jnp.ones(4)) == pytest.approx(2)


def test_entropy_in_nats():
    assert router.entropy(jnp.eye(3), jnp.ones(3)) == pytest.approx(0, abs=1e-6)
    assert router.entropy(jnp.full((2, 4), 0.25), jnp.ones(2)) == pytest.approx(np.log(4), rel=1e-6)


@given(hnp.arrays(np.float32, (6, 3), elements=st.floats(-5, 5, width=32)))
def test_balance_and_entropy_stay_within_their_bounds(logits):
    gate = jax.nn.softmax(jnp.asarray(logits))
    assert -1e-5 <= router.balance(gate, jnp.ones(len(gate))) <= 2 + 1e-5
    assert -1e-5 <= router.entropy(gate, jnp.ones(len(gate))) <= np.log(3) + 1e-5


def test_domain_loss_counts_known_rows_only():
    gate = jnp.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.2, 0.4, 0.4]])
    loss = router.domain_loss(gate, jnp.array([[1.0, 0, 0], [0, 0, 0], [0, 0, 1]]))
    assert loss == pytest.approx(-(np.log(0.5) + np.log(0.4)) / 2, rel=1e-5)
    assert router.domain_loss(gate, jnp.zeros((3, 3))) == 0


def test_domain_loss_of_an_image_in_several_domains_is_least_where_the_gates_share_it():
    target = jnp.array([[0.5, 0, 0.5]])
    even = router.domain_loss(jnp.array([[0.5, 0, 0.5]]), target)
    assert even == pytest.approx(np.log(2), rel=1e-5)
    assert even < router.domain_loss(jnp.array([[0.6, 0, 0.4]]), target)
    assert even < router.domain_loss(jnp.array([[0.45, 0.1, 0.45]]), target)


@given(
    hnp.arrays(np.float32, (6, 3), elements=st.floats(-20, 20, width=32)),
    hnp.arrays(np.int32, 6, elements=st.integers(-1, 2)),
)
def test_domain_loss_of_one_domain_an_image_is_that_of_its_number_to_the_bit(logits, domain):
    gate = jax.nn.softmax(jnp.asarray(logits))
    losses = optax.softmax_cross_entropy_with_integer_labels(jnp.log(jnp.maximum(gate, 1e-20)), jnp.maximum(domain, 0))
    known = domain >= 0
    expected = jnp.sum(jnp.where(known, losses, 0)) / jnp.maximum(jnp.sum(known), 1)
    assert router.domain_loss(gate, jnp.eye(4, 3, -1)[domain + 1]) == expected


def test_the_router_learns_separable_domains():
    rng = np.random.default_rng(0)
    domain = rng.integers(0, 3, 120)
    features = jnp.asarray(rng.standard_normal((120, 8)) + 3 * np.eye(8)[domain], jnp.float32)
    params = router.init_router(jax.random.key(0), 8, 3)

    @jax.jit
    def descend(params):
        loss = lambda p: router.domain_loss(router.gates(p, features), jnp.eye(3)[domain])  # noqa: E731
        return jax.tree.map(lambda p, g: p - 0.5 * g, params, jax.grad(loss)(params))

    for _ in range(60):
        params = descend(params)
    assert np.mean(np.argmax(router.gates(params, features), axis=1) == domain) > 0.95


def test_a_router_of_mean_and_deviation_distinguishes_images_that_the_mean_cannot():
    """Two channels over four tokens: means 3 and 1, deviations 4 and 2; blurred, half of them."""
    tokens = np.array([[7, 3], [-1, 3], [7, -1], [-1, -1]], np.float32)
    blurred = tokens.mean(axis=0) + (tokens - tokens.mean(axis=0)) / 2
    both = jnp.stack([tokens, blurred])
    mean = routed_by(both, "mean")
    np.testing.assert_allclose(mean, [[1, -1], [1, -1]], atol=1e-5)
    expected = [[1, -1, np.log(4), np.log(2)], [1, -1, np.log(2), 0]]
    np.testing.assert_allclose(routed_by(both, "mean_std"), expected, atol=1e-5)


def test_the_deviation_of_equal_tokens_has_a_gradient():
    slope = jax.grad(lambda tokens: jnp.sum(routed_by(tokens, "mean_std")))(jnp.ones((1, 4, 3)))
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_an_image_as_likely_old_as_new_goes_to_the_null_expert_by_the_weight_of_old_ones(weight):
    """Where gates cannot distinguish them, the loss is least at weight / (weight + 1)."""

    def loss(null):
        gate = jnp.stack([1 - null, null])[None]
        return router.old_or_new_loss(gate, gate, jnp.ones(1), weight)

    best = jnp.float32(weight / (weight + 1))
    assert jax.grad(loss)(best) == pytest.approx(0, abs=1e-5)
    assert loss(best) < min(loss(best - 0.05), loss(best + 0.05))
