"""The loop and the device: how far it runs ahead."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from adaptface_jax.config import defaults
from adaptface_jax.config.overrides import freeze
from adaptface_jax.data.sources.from_path import open_source
from adaptface_jax.distributed.mesh import make_mesh, place
from adaptface_jax.training import loop
from adaptface_jax.training.plan import Plan
from adaptface_jax.training.step import make_step
from adaptface_jax.training.stopping import StopSignals

STEPS, WIDTH, PRODUCTS = 6, 256, 200


class NothingToJudge:
    """A run of which only the steps count."""

    def begin(self):
        pass

    def begun(self, monitor):
        pass

    def end(self, step, state, monitor, drawn):
        pass


def slow_loss(trainable, frozen, batch, statistics, key):
    """Far slower than the host, which has nothing to decode."""
    kernel = trainable["head"]["kernel"]
    product = jax.lax.fori_loop(0, PRODUCTS, lambda _, x: jnp.tanh(x @ kernel), jnp.eye(WIDTH))
    loss = jnp.sum(kernel**2) + jax.lax.stop_gradient(jnp.sum(product)) * jnp.mean(batch["weight"])
    return loss, ({"loss": loss}, statistics)


class Watched:
    """The step; notes how many steps are not done when the next one is given to the device."""

    def __init__(self, step) -> None:
        self.step, self.losses, self.waiting = step, [], []

    def lower(self, *args):
        self.lowered = self.step.lower(*args)
        return self

    def compile(self):
        self.compiled = self.lowered.compile()
        return self

    def __call__(self, *args):
        self.waiting.append(sum(not loss.is_ready() for loss in self.losses))
        state, metrics = self.compiled(*args)
        self.losses.append(metrics["loss"])
        return state, metrics


def test_one_step_at_most_waits_for_the_device_so_that_a_signal_is_heard(tmp_path, monkeypatch):
    config = defaults()
    changes = {"data.threads": 0, "train.batch_size": 4, "train.steps": STEPS, "train.log_every": 1000}
    config.update_from_flattened_dict(changes | {"checkpoint.every_steps": 1000})
    mesh = make_mesh(jax.devices()[:1])
    plan = Plan(
        config=freeze(config), mesh=mesh, source=open_source("synthetic:identities=2,images=4"), frozen={},
        trainable=place(mesh, {"head": {"kernel": jnp.eye(WIDTH)}}), statistics={}, loss=slow_loss,
        expected_loss=(3.0, 0.1), record={}, evaluated=False,
    )  # fmt: skip
    steps = []
    monkeypatch.setattr(loop, "make_step", lambda *args: steps.append(Watched(make_step(*args))) or steps[0])
    with StopSignals() as stop:
        assert loop.train(plan, tmp_path, stop, NothingToJudge()).steps == STEPS
    assert len(steps[0].waiting) == STEPS and max(steps[0].waiting) <= 1
