"""The moving average of the trained weights: its values, its contents, and that runs are opened with it."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from adaptface_jax.config.schema import LossConfig, TrainConfig
from adaptface_jax.distributed.mesh import make_mesh
from adaptface_jax.losses.margin import init_statistics
from adaptface_jax.training import optim
from adaptface_jax.training.averaging import Averaged, averaged, used
from adaptface_jax.training.run import abstract_state
from adaptface_jax.training.step import init_state

TREE = {"head": {"bias": jnp.zeros(3)}, "centers": jnp.ones((4, 3))}


def test_the_average_follows_the_parameters_by_the_decay_that_the_number_of_updates_allows():
    rule = averaged(optax.sgd(1.0), 0.5)
    state, params, expected = rule.init(TREE), TREE, 0.0
    for n in range(12):
        updates, state = rule.update(jax.tree.map(lambda p: -jnp.ones_like(p), params), state, params)
        params = optax.apply_updates(params, updates)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * (n + 1)
        np.testing.assert_allclose(params["head"]["bias"], n + 1)
        np.testing.assert_allclose(state.average["head"]["bias"], expected, rtol=1e-6)
    assert int(state.updates) == 12


def test_it_is_used_in_place_of_the_newest_and_holds_no_class_centers():
    state = averaged(optax.sgd(1.0), 0.9).init(TREE)
    newest = {"head": {"bias": jnp.full(3, 7.0)}, "centers": jnp.full((4, 3), 7.0)}
    found = used(newest, state)
    assert set(state.average) == {"head"}
    np.testing.assert_array_equal(found["head"]["bias"], TREE["head"]["bias"])
    assert found["centers"] is newest["centers"]
    assert used(newest, optax.sgd(1.0).init(TREE)) is newest


@pytest.mark.parametrize("loss", [None, LossConfig(learning_rate=1e-3)])
def test_a_run_keeps_it_with_the_optimizers_state_and_the_updates_are_those_without(loss):
    config = TrainConfig(ema=0.99)
    rate = optim.schedule(config, 1, 1)
    plain, with_average = (
        optim.optimizer(dataclasses.replace(config, ema=ema), rate, loss=loss) for ema in (0.0, config.ema)
    )
    grads = jax.tree.map(lambda leaf: leaf + 0.5, TREE)
    one, _ = plain.update(grads, plain.init(TREE), TREE)
    two, state = with_average.update(grads, with_average.init(TREE), TREE)
    jax.tree.map(np.testing.assert_array_equal, one, two)
    assert isinstance(state, Averaged)
    like = abstract_state(config, TREE, init_statistics(), make_mesh(jax.devices()[:1]), loss)
    made = init_state(TREE, with_average, init_statistics())
    assert jax.tree.structure(like) == jax.tree.structure(made)
