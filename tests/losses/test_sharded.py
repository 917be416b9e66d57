# SPDX-License-Identifier: Apache-2.0
"""The sharded, chunked head against the dense one: the same losses and gradients, whatever the mesh and the chunks."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.config.schema import LossConfig
from adaptface_jax.core.errors import InputError
from adaptface_jax.distributed.mesh import make_mesh, place, sharding
from adaptface_jax.losses.margin import init_statistics, margin_loss
from adaptface_jax.losses.sharded import class_loss
from adaptface_jax.training import optim
from adaptface_jax.training.checkpoint import Checkpoints
from adaptface_jax.training.recognition.loss import make_loss
from adaptface_jax.training.step import init_state, make_step
from tests import made_models as models

ROWS, DIM, CLASSES = 16, 12, 37  # no mesh axis divides the classes
MESHES = {"1 device": (1, 1), "8 data": (8, 1), "2 x 4": (8, 4), "8 model": (8, 8)}
rng = np.random.default_rng(0)
EMBEDDINGS = jnp.asarray(rng.standard_normal((ROWS, DIM)) * rng.uniform(0.5, 30, (ROWS, 1)), jnp.float32)
CENTERS = jnp.asarray(0.01 * rng.standard_normal((CLASSES, DIM)), jnp.float32)
LABELS = jnp.asarray(np.r_[0, CLASSES - 1, rng.integers(CLASSES, size=ROWS - 2)], jnp.int32)
WEIGHTS = jnp.asarray(rng.uniform(0.5, 1.5, ROWS), jnp.float32)  # no gradient is the same for all rows


def mesh_of(name: str) -> jax.sharding.Mesh:
    devices, model = MESHES[name]
    return make_mesh(jax.devices()[:devices], model)


def measured(loss, embeddings, centers):
    """((weighted sum, output), gradients of the embeddings and the centers)."""

    def total(embeddings, centers):
        out = loss(embeddings, centers)
        # The target's cosine is an output too: a gradient through it must be right as well.
        return jnp.sum(WEIGHTS * (out.loss + 0.3 * jnp.square(out.target_cosine))), out

    return jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))(embeddings, centers)


@functools.cache
def dense(name: str):
    """What the dense head gives, for each margin."""
    return measured(lambda e, c: margin_loss(LossConfig(name), e, c, LABELS, init_statistics()), EMBEDDINGS, CENTERS)


def assert_same_as_dense(config: LossConfig, mesh: jax.sharding.Mesh) -> None:
    (_, expected), (d_embeddings, d_centers) = dense(config.name)
    (_, found), (e, c) = measured(
        lambda e, c: class_loss(config, e, c, LABELS, init_statistics(), mesh),
        jax.device_put(EMBEDDINGS, sharding(mesh, "batch")),
        jax.device_put(models.padded(CENTERS, mesh), sharding(mesh, "class")),
    )
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.target_cosine, expected.target_cosine, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.statistics, expected.statistics, rtol=1e-6)
    assert models.relative([e], [d_embeddings]) < 1e-5
    assert models.relative([c[:CLASSES]], [d_centers]) < 1e-5
    assert not np.any(c[CLASSES:])


@pytest.mark.parametrize(("mesh", "chunk"), [*((mesh, 3) for mesh in MESHES), ("2 x 4", 1000), ("1 device", 1000)])
def test_loss_and_gradients_are_the_dense_heads(mesh, chunk):
    assert_same_as_dense(LossConfig(class_chunk=chunk), mesh_of(mesh))


@pytest.mark.parametrize("name", ["arcface", "adaface", "combined"])
def test_every_margin_and_its_statistics_are_the_dense_heads(name):
    assert_same_as_dense(LossConfig(name=name, class_chunk=3), mesh_of("2 x 4"))


def test_a_shard_of_nothing_but_padding_changes_nothing():
    # 9 classes on 8 devices: two each, so that three devices hold none.
    mesh, labels = mesh_of("8 model"), LABELS % 9
    found = class_loss(LossConfig(), EMBEDDINGS, models.padded(CENTERS[:9], mesh), labels, init_statistics(), mesh)
    expected = margin_loss(LossConfig(), EMBEDDINGS, CENTERS[:9], labels, init_statistics())
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-5)


def test_large_logits_stay_finite():
    centers = jnp.concatenate([EMBEDDINGS[:4], -EMBEDDINGS[:4]])
    labels = jnp.tile(jnp.array([4, 5, 6, 7]), 4)  # the worst class for the first four images
    config = LossConfig(scale=1000.0, class_chunk=2)
    mesh = mesh_of("2 x 4")
    found = class_loss(config, EMBEDDINGS, centers, labels, init_statistics(), mesh)
    dense = margin_loss(config, EMBEDDINGS, centers, labels, init_statistics())
    np.testing.assert_allclose(found.loss, dense.loss, rtol=1e-5)
    assert np.isfinite(found.loss).all() and found.loss[0] > 2000


def test_no_device_ever_holds_all_its_logits():
    mesh, rows, classes = mesh_of("1 device"), 512, 4096
    embeddings, centers = jnp.ones((rows, 4)), jnp.ones((classes, 4))
    labels = jnp.zeros(rows, jnp.int32)

    def gradients(config):
        def total(e, c):
            return jnp.sum(class_loss(config, e, c, labels, init_statistics(), mesh).loss)

        return jax.jit(jax.grad(total, argnums=(0, 1))).lower(embeddings, centers).compile().memory_analysis()

    logits = 4 * rows * classes
    dense, chunked = gradients(LossConfig()), gradients(LossConfig(class_chunk=256))
    assert dense.temp_size_in_bytes > logits
    assert chunked.temp_size_in_bytes < logits / 4


def run(settings, devices: int, model: int, steps: int = 3):
    """(losses, final state) of some steps of training on a mesh."""
    mesh = make_mesh(jax.devices()[:devices], model)
    recognizer, frozen, trainable = models.build(settings)
    trainable["centers"] = models.padded(trainable["centers"], mesh)
    rate = optim.schedule(settings.train, 10, 100)
    optimizer = optim.optimizer(settings.train, rate)
    state = place(mesh, init_state(jax.tree.map(jnp.array, trainable), optimizer, init_statistics()))
    frozen, key = jax.device_put((frozen, jax.random.key(0)), sharding(mesh))
    step, losses = make_step(make_loss(recognizer, mesh), optimizer, rate, mesh, recognizer.config.train.grad_accum), []
    for i in range(steps):
        batch = jax.device_put(models.batch(seed=i), sharding(mesh, "batch"))
        state, metrics = step(frozen, state, batch, key)
        losses.append(float(metrics["loss"]))
    return losses, state


@pytest.fixture(scope="module")
def dense_run():
    return run(models.config("lora"), devices=1, model=1)


def test_training_with_model_parallel_4_is_training_with_1(dense_run):
    losses, expected = dense_run
    found, state = run(models.config("lora"), devices=8, model=4)
    np.testing.assert_allclose(found, losses, rtol=1e-5)
    centers = state.trainable["centers"]
    assert centers.shape == (12, 16)  # 10 classes, padded for 4 devices
    assert centers.addressable_shards[0].data.shape == (3, 16)
    assert not np.any(centers[10:])
    # AdamW divides by its second moments, so that rounding shows where a gradient is nearly zero.
    np.testing.assert_allclose(centers[:10], expected.trainable["centers"], atol=1e-5)
    moments = [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.shape == centers.shape]
    assert len(moments) == 2
    assert all(moment.sharding.is_equivalent_to(centers.sharding, 2) for moment in moments)


def test_a_checkpoint_of_one_mesh_is_restored_on_another(dense_run, tmp_path):
    _, dense = dense_run
    wide, step = make_mesh(jax.devices(), 4), int(dense.step)
    padded_state = place(wide, with_rows(dense, 12))
    with Checkpoints(tmp_path / "dense") as one, Checkpoints(tmp_path / "wide") as other:
        one.save(step, dense)
        other.save(step, padded_state)
        one.wait(), other.wait()
        to_wide, to_dense = one.restore(step, padded_state), other.restore(step, dense)
    for found, expected in ((to_wide, padded_state), (to_dense, dense)):
        jax.tree.map(np.testing.assert_array_equal, found, expected)
        same = jax.tree.map(lambda x, y: x.sharding.is_equivalent_to(y.sharding, x.ndim), found, expected)
        assert all(jax.tree.leaves(same))


def with_rows(state, rows: int):
    """The state as `models.padded` would have made it initially."""

    def grown(path, leaf):
        named = any(getattr(part, "key", None) == "centers" for part in path)
        return np.pad(leaf, ((0, rows - len(leaf)), (0, 0))) if named else np.array(leaf)

    return jax.tree_util.tree_map_with_path(grown, state)


def test_a_group_that_does_not_divide_the_devices_is_refused():
    with pytest.raises(InputError, match=r"train\.model_parallel: 3 does not divide the 8 devices"):
        make_mesh(jax.devices(), 3)
