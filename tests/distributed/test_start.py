# SPDX-License-Identifier: Apache-2.0
"""The start of a training on a mesh: the values are those of one device, and no device holds more than its part."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from adaptface_jax.config.schema import LossConfig, TrainConfig
from adaptface_jax.distributed.mesh import make_mesh, state_shardings
from adaptface_jax.losses.margin import init_statistics
from adaptface_jax.models.head import init_centers
from adaptface_jax.training import optim
from adaptface_jax.training.recognition import model as recognition
from adaptface_jax.training.step import begin_state, init_state
from tests import made_models as models

CLASSES, DIM = 1001, 64  # no mesh axis divides the classes
KEY = jax.random.key(3)


@pytest.mark.parametrize("model", [1, 4, 8])
def test_the_same_seed_gives_the_same_centers_on_every_mesh(model):
    mesh = make_mesh(jax.devices(), model)
    found, expected = init_centers(KEY, CLASSES, DIM, mesh), init_centers(KEY, CLASSES, DIM)
    assert np.array_equal(found, models.padded(expected, mesh))
    assert {shard.data.shape[0] for shard in found.addressable_shards} == {-(-CLASSES // model)}


def test_a_device_draws_its_own_centers_only():
    def memory(model):
        mesh = make_mesh(jax.devices(), model)
        return jax.jit(lambda: init_centers(KEY, CLASSES, DIM, mesh)).lower().compile().memory_analysis()

    whole, part = memory(1), memory(8)
    assert part.output_size_in_bytes == whole.output_size_in_bytes * 1008 / CLASSES / 8
    assert part.temp_size_in_bytes < whole.temp_size_in_bytes / 7


@pytest.mark.parametrize("loss", [LossConfig(), LossConfig(sample_rate=0.5), LossConfig(optimizer="sgd")])
def test_the_optimizer_keeps_the_moments_of_a_class_where_its_center_is(loss):
    mesh, config = make_mesh(jax.devices(), 8), TrainConfig(ema=0.9)
    rule = optim.optimizer(config, 1e-3, loss=loss)
    trainable = {"head": {"kernel": np.eye(4, dtype=np.float32)}, "centers": init_centers(KEY, CLASSES, DIM, mesh)}
    state = begin_state(trainable, rule, init_statistics(), mesh)
    for leaf, where in zip(jax.tree.leaves(state), jax.tree.leaves(state_shardings(mesh, state)), strict=True):
        assert leaf.sharding.is_equivalent_to(where, leaf.ndim)
    largest = max(shard.data.nbytes for leaf in jax.tree.leaves(state) for shard in leaf.addressable_shards)
    assert largest == 126 * DIM * 4
    jax.tree.map(np.testing.assert_array_equal, state, init_state(trainable, rule, init_statistics()))


def test_processes_compare_how_they_compute_attention(monkeypatch):
    """Kernels that are wrong on the GPU of one process are not used there; the others must not use them either."""
    compared = {}
    monkeypatch.setattr(recognition, "check_agreed", compared.__setitem__)
    settings = models.replace(models.config("lora"), "backbone", weights="builtin")
    model = recognition.build_model(settings, None, make_mesh())
    assert compared["their backbones"]["attention"] == model.recognizer.attention == "whole"
