# SPDX-License-Identifier: Apache-2.0
"""The loop and the device: how far it runs ahead."""

from __future__ import annotations

import gzip
import json

import jax
import jax.numpy as jnp

from adaptface_jax.config import defaults
from adaptface_jax.config.overrides import freeze
from adaptface_jax.data.sources.from_path import open_source
from adaptface_jax.distributed.mesh import make_mesh, place
from adaptface_jax.training import loop
from adaptface_jax.training.checkpoint import Checkpoints
from adaptface_jax.training.evidence import read_lines
from adaptface_jax.training.monitor import read_metrics
from adaptface_jax.training.plan import Plan
from adaptface_jax.training.run import STORED
from adaptface_jax.training.step import make_step
from adaptface_jax.training.stopping import StopSignals

STEPS, WIDTH, PRODUCTS = 6, 256, 200


class NothingToJudge:
    """A run in which only the steps count."""

    def begin(self):
        pass

    def begun(self, monitor):
        pass

    def end(self, step, state, monitor, drawn):
        pass


def slow_loss(trainable, frozen, batch, statistics, key):
    """Much slower than the host, which has nothing to decode."""
    kernel = trainable["head"]["kernel"]
    product = jax.lax.fori_loop(0, PRODUCTS, lambda _, x: jnp.tanh(x @ kernel), jnp.eye(WIDTH))
    loss = jnp.sum(kernel**2) + jax.lax.stop_gradient(jnp.sum(product)) * jnp.mean(batch["weight"])
    return loss, ({"loss": loss}, statistics)


class Watched:
    """The step; records how many steps are unfinished when the next one is dispatched."""

    def __init__(self, step) -> None:
        self.step, self.losses, self.waiting = step, [], []

    def trace(self, *args):
        self.traced = self.step.trace(*args)
        self.jaxpr = self.traced.jaxpr
        return self

    def lower(self):
        self.lowered = self.traced.lower()
        return self

    def compile(self):
        self.compiled = self.lowered.compile()
        return self

    def memory_analysis(self):
        return self.compiled.memory_analysis()

    def __call__(self, *args):
        self.waiting.append(sum(not loss.is_ready() for loss in self.losses))
        state, metrics = self.compiled(*args)
        self.losses.append(metrics["loss"])
        return state, metrics


def slow_plan(log_every: int = 1000, save_every: int = 1000) -> Plan:
    config = defaults()
    changes = {"data.threads": 0, "train.batch_size": 4, "train.steps": STEPS, "train.log_every": log_every}
    config.update_from_flattened_dict(changes | {"checkpoint.every_steps": save_every})
    mesh = make_mesh(jax.devices()[:1])
    return Plan(
        config=freeze(config), mesh=mesh, source=open_source("synthetic:identities=2,images=4"), frozen={},
        trainable=place(mesh, {"head": {"kernel": jnp.eye(WIDTH)}}), statistics={}, loss=slow_loss,
        expected_loss=(3.0, 0.1), evaluated=False,
        record={"config": {}, "backbone": {}, "data": {"classes": 2}, STORED: 112},
    )  # fmt: skip


def test_one_step_at_most_waits_for_the_device_so_that_a_signal_is_heard(tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(loop, "make_step", lambda *args: steps.append(Watched(make_step(*args))) or steps[0])
    with StopSignals() as stop:
        assert loop.train(slow_plan(), tmp_path, stop, NothingToJudge()).steps == STEPS
    assert len(steps[0].waiting) == STEPS and max(steps[0].waiting) <= 1


def test_no_step_waits_behind_a_slow_one(tmp_path, monkeypatch):
    """A signal ends the run after the current step, not one later."""
    steps = []
    monkeypatch.setattr(loop, "make_step", lambda *args: steps.append(Watched(make_step(*args))) or steps[0])
    monkeypatch.setattr(loop, "SLOW", 0.0)
    with StopSignals() as stop:
        loop.train(slow_plan(), tmp_path, stop, NothingToJudge())
    assert steps[0].waiting == [0] * STEPS


def test_rows_before_a_checkpoint_are_written_before_it(tmp_path, monkeypatch):
    """A run killed right after a save resumes from it, and would never write a pending row."""
    found = []

    class Looked(Checkpoints):
        def save(self, step, *rest):
            if step:
                row, line = read_metrics(tmp_path)[-1], read_lines(tmp_path)[-1]
                found.append((step, row["step"], line["step"], len(line["state"])))
            super().save(step, *rest)

    monkeypatch.setattr(loop, "Checkpoints", Looked)
    with StopSignals() as stop:
        loop.train(slow_plan(log_every=1, save_every=2), tmp_path, stop, NothingToJudge())
    assert [numbers[:3] for numbers in found] == [(2, 2, 2), (4, 4, 4), (6, 6, 6)]
    assert all(numbers[3] for numbers in found)


def test_a_profile_holds_the_steps_asked_for_and_the_run_says_what_a_step_costs(tmp_path, capsys):
    with StopSignals() as stop:
        loop.train(slow_plan(), tmp_path, stop, NothingToJudge(), profile=2)
    said = capsys.readouterr().out
    assert f"step      {2 * WIDTH**3 * PRODUCTS / 1e9:,.0f} GFLOP in matrix products" in said
    assert f"a trace of 2 steps is in {tmp_path}/plugins/profile" in said
    (perfetto,) = tmp_path.glob("plugins/profile/*/perfetto_trace.json.gz")
    names = {event.get("name") for event in json.loads(gzip.decompress(perfetto.read_bytes()))["traceEvents"]}
    assert "train" in names
    assert list(tmp_path.glob("plugins/profile/*/*.xplane.pb"))


def test_a_resumed_run_keeps_its_state_only_once(tmp_path):
    """As in a new run, whose first step consumes the initial values."""
    with StopSignals() as stop:
        loop.train(slow_plan(), tmp_path, stop, NothingToJudge())
        again = slow_plan()
        loop.train(again, tmp_path, stop, NothingToJudge())
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(again.trainable))
