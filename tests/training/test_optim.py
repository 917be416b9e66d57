"""Schedules and weight decay."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.config.schema import TrainConfig
from adaptface_jax.training.optim import decay_mask, optimizer, schedule


def rates(config: TrainConfig, steps_per_epoch: int, total: int) -> np.ndarray:
    course = schedule(config, steps_per_epoch, total)
    return np.array([float(course(step)) for step in range(total + 1)])


def test_cosine_after_a_linear_warm_up():
    config = TrainConfig(learning_rate=1.0, warmup_steps=10, min_learning_rate=0.1)
    found = rates(config, 10, 110)
    assert np.allclose(found[:11], np.arange(11) / 10)
    assert np.allclose(found[10:], [0.1 + 0.9 * (1 + math.cos(math.pi * t / 100)) / 2 for t in range(101)], atol=1e-6)


def test_constant():
    assert np.allclose(rates(TrainConfig(learning_rate=0.3, schedule="constant"), 5, 20), 0.3)


def test_step_drops_at_its_epochs_also_after_a_warm_up():
    config = TrainConfig(learning_rate=1.0, schedule="step", decay_epochs=(2, 4), decay_factor=0.1, warmup_steps=5)
    found = rates(config, 10, 60)
    assert np.allclose(found[[5, 19, 21, 39, 41, 60]], [1, 1, 0.1, 0.1, 0.01, 0.01], rtol=1e-5)


def test_froundations_warm_restarts():
    # 5 epochs constant, then T0 = 5, Tmult = 2, eta_min 1e-6
    config = TrainConfig(schedule="restarts", hold_epochs=5, min_learning_rate=1e-6)
    found = rates(config, 10, 400)
    assert np.allclose(found[:50], 1e-4)
    assert found[50] == pytest.approx(1e-4) and found[75] == pytest.approx((1e-4 + 1e-6) / 2, rel=1e-4)
    assert found[99] < 1.1e-6
    assert found[100] == pytest.approx(1e-4) and found[199] < 1.1e-6 and found[200] == pytest.approx(1e-4)
    assert found.min() >= 1e-6 - 1e-12


def test_weight_decay_spares_biases_and_norms():
    tree = {
        "adapter": {"qkv": {"a": 0, "b": 0}},
        "head": {"kernel": 0, "bias": 0},
        "centers": 0,
        "backbone": {"blocks": {"norm1": {"scale": 0, "bias": 0}, "scale1": {"gamma": 0}}, "cls_token": 0},
    }
    mask = decay_mask(tree)
    assert mask["adapter"] == {"qkv": {"a": True, "b": True}} and mask["centers"] is True
    assert mask["head"] == {"kernel": True, "bias": False}
    assert mask["backbone"]["blocks"] == {"norm1": {"scale": False, "bias": False}, "scale1": {"gamma": False}}


def test_decay_is_decoupled_and_the_norm_clipped():
    config = TrainConfig(learning_rate=0.1, weight_decay=0.5, clip_norm=1.0, schedule="constant")
    transform = optimizer(config, schedule(config, 1, 1))
    params = {"kernel": jnp.full((2,), 2.0), "bias": jnp.full((2,), 2.0)}
    state = transform.init(params)
    updates, _ = transform.update({"kernel": jnp.zeros(2), "bias": jnp.zeros(2)}, state, params)
    assert np.allclose(updates["kernel"], -0.1 * 0.5 * 2) and np.allclose(updates["bias"], 0)
    # Adam's first step is the sign of the gradient, whatever the clipping
    updates, state = transform.update({"kernel": jnp.full(2, 300.0), "bias": jnp.zeros(2)}, state, params)
    moment = next(s.mu for s in _leaves(state) if hasattr(s, "mu"))
    assert np.linalg.norm(moment["kernel"]) == pytest.approx(0.1, rel=1e-5)


def _leaves(state):
    for item in state:
        yield item
        if isinstance(item, tuple):
            yield from _leaves(item)
