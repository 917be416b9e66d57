"""A sweep of the learning rate: on a parabola with a known best rate, and on given losses."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.config.schema import LoopConfig
from adaptface_jax.distributed.mesh import make_mesh, place, sharding
from adaptface_jax.training import lr_sweep, optim
from adaptface_jax.training.lr_sweep import LOOK, Sweeper, read, smooth
from adaptface_jax.training.step import init_state, make_step

CURVATURE = 5.0  # gradient descent converges below 2 / CURVATURE, and at once at 1 / CURVATURE
STEPS, LOW, HIGH = 100, 1e-4, 1e2


class Parabola:
    """A loss that is the same for every batch; `traced` counts how often it was traced."""

    def __init__(self) -> None:
        self.traced = 0

    def __call__(self, trainable, frozen, batch, statistics, key):
        self.traced += 1
        loss = (
            CURVATURE / 2 * jnp.sum((trainable["head"]["kernel"] - frozen["target"]) ** 2) * jnp.mean(batch["weight"])
        )
        return loss, ({"loss": loss}, statistics)


def config(**changes) -> LoopConfig:
    return LoopConfig(optimizer="sgd", momentum=0.0, batch_size=8, **changes)


@pytest.fixture(scope="module")
def mesh():
    return make_mesh(keep_memory=False)


@pytest.fixture(scope="module")
def trees(mesh):
    """frozen, trainable, statistics"""
    target = place(mesh, {"target": jnp.arange(4.0)})
    return target, place(mesh, {"head": {"kernel": jnp.full(4, 3.0)}}), place(mesh, {"mean": jnp.zeros(2)})


@pytest.fixture(scope="module")
def loss():
    return Parabola()


@pytest.fixture(scope="module")
def sweeper(mesh, trees, loss):
    frozen, trainable, statistics = trees
    return Sweeper(config(), loss, mesh, frozen, trainable, statistics, LOW, HIGH, STEPS)


@pytest.fixture(scope="module")
def batch(mesh):
    return jax.device_put({"weight": jnp.ones(8)}, sharding(mesh, "batch"))


@pytest.fixture(scope="module")
def key(mesh):
    return jax.device_put(jax.random.key(0), sharding(mesh))


def swept(sweeper, batch, key, weight_decay=0.0):
    return sweeper.sweep(weight_decay, itertools.repeat(batch), key, lambda done, loss: None)


def test_the_suggestion_lies_in_the_valley_and_divergence_ends_the_sweep(sweeper, batch, key):
    found = swept(sweeper, batch, key)
    assert 0.02 / CURVATURE < found.suggestion < 2 / CURVATURE
    assert found.tenth < 2 / CURVATURE
    assert found.ended.startswith("diverged at")
    assert len(found.losses) < STEPS and found.rates[-1] < HIGH
    assert found.smoothed[-1] > 4 * min(found.smoothed) and found.lowest == min(found.smoothed)
    assert found.loss_at(found.suggestion) < found.smoothed[0]
    np.testing.assert_allclose(found.rates, np.geomspace(LOW, HIGH, STEPS)[: len(found.rates)])


def test_every_sweep_starts_from_the_same_values_and_none_compiles_again(sweeper, loss, trees, batch, key):
    first = swept(sweeper, batch, key)
    traced = loss.traced
    decayed, again = swept(sweeper, batch, key, 0.5), swept(sweeper, batch, key)
    assert loss.traced == traced
    assert again == first
    assert decayed.losses[0] == first.losses[0] and decayed.losses[50] != first.losses[50]
    assert np.array_equal(trees[1]["head"]["kernel"], np.full(4, 3.0))


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_the_steps_are_those_of_a_training_with_that_schedule_and_decay(mesh, trees, batch, key, name):
    frozen, trainable, statistics = trees
    settings = LoopConfig(optimizer=name, clip_norm=1.0)
    sweeper = Sweeper(settings, Parabola(), mesh, frozen, trainable, statistics, 1e-4, 1e-1, 40)
    rate = lr_sweep._course(1e-4, 1e-1, 40)
    optimizer = optim.optimizer(settings, rate, 0.3)
    step = make_step(Parabola(), optimizer, rate, mesh)
    state = place(mesh, init_state(jax.tree.map(jnp.copy, trainable), optimizer, jax.tree.map(jnp.copy, statistics)))
    losses = []
    for _ in range(40):
        state, metrics = step(frozen, state, batch, key)
        losses.append(float(metrics["loss"]))
    assert float(metrics["learning_rate"]) == pytest.approx(1e-1, rel=1e-5)
    np.testing.assert_allclose(swept(sweeper, batch, key, 0.3).losses, losses, rtol=1e-6)


def test_losses_are_read_some_steps_at_a_time(sweeper, batch, key, monkeypatch):
    calls, real = [], jax.device_get
    monkeypatch.setattr(jax, "device_get", lambda tree: calls.append(len(tree)) or real(tree))
    swept(sweeper, batch, key)
    assert len(calls) <= STEPS / LOOK + 1 and max(calls[:-1]) == LOOK


def test_numbers_that_are_not_finite_end_the_sweep(mesh, trees, batch, key):
    frozen, trainable, statistics = trees

    def loss(trainable, frozen, batch, statistics, key):
        far = jnp.sum(jnp.abs(trainable["head"]["kernel"] - 3.0)) > 0.5
        value = jnp.sum((trainable["head"]["kernel"] - frozen["target"]) ** 2)
        return value * jnp.where(far, jnp.nan, 1.0), ({"loss": value}, statistics)  # only the gradient is non-finite

    found = swept(Sweeper(config(), loss, mesh, frozen, trainable, statistics, LOW, HIGH, STEPS), batch, key)
    assert found.ended.startswith("not finite at") and np.isfinite(found.losses).all()


RATES = np.geomspace(1e-7, 1, 100)


def noisy(depth: float, seed: int) -> np.ndarray:
    """5, minus `depth` above a rate of 1e-3, and much more above 0.1; with noise of 0.3."""
    decades = np.log10(RATES)
    curve = 5 - depth / (1 + np.exp(-4 * (decades + 3))) + 20 * np.maximum(decades + 1, 0)
    return curve + np.random.default_rng(seed).normal(0, 0.3, 100)


def test_noise_alone_suggests_nothing():
    flat = [read(0.0, RATES, 5 + np.random.default_rng(seed).normal(0, 0.3, 100)) for seed in range(200)]
    assert sum(sweep.suggestion is not None for sweep in flat) <= 10
    assert all(sweep.ended == "after the last rate" for sweep in flat)


def test_a_descent_is_found_in_noise():
    found = [read(0.0, RATES, noisy(2.0, seed)).suggestion for seed in range(200)]
    assert None not in found
    low, middle, high = np.quantile(found, [0.05, 0.5, 0.95])
    assert low > 3e-4 and 1e-3 < middle < 3e-3 and high < 1e-2


def test_a_loss_that_only_rises_suggests_nothing():
    found = read(0.0, RATES, np.linspace(1, 3, 100))
    assert found.suggestion is None and found.tenth is None


def test_what_comes_after_the_divergence_changes_nothing():
    losses = [*np.linspace(5, 1, 60), *np.full(20, 100.0), *np.zeros(20)]
    found = read(0.0, RATES, losses)
    assert found == read(0.0, RATES, losses[:70])
    assert found.ended.startswith("diverged") and len(found.losses) == 61


def test_a_first_loss_that_is_not_finite_leaves_nothing():
    found = read(0.0, RATES, [math.nan, 1.0, 2.0])
    assert found.losses == () and found.lowest is None and found.ended == "not finite at 1.00e-07"


def test_the_mean_is_corrected_for_its_start():
    np.testing.assert_allclose(smooth([2.0, 2.0, 2.0], 0.9), 2.0)
    np.testing.assert_allclose(smooth([1.0, 3.0], 0.9), [1.0, (0.9 * 1 + 3) / 1.9])
