# SPDX-License-Identifier: Apache-2.0
"""Sampled class centers against plain NumPy: what is drawn, what its sum estimates, which rows are trained."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.config.schema import LossConfig, TrainConfig
from adaptface_jax.distributed.mesh import make_mesh, place, sharding
from adaptface_jax.losses.first_loss import expected_first_loss
from adaptface_jax.losses.margin import init_statistics, margin_loss, unit
from adaptface_jax.losses.sampled import ClassSampler, class_sampler
from adaptface_jax.losses.sharded import class_loss
from adaptface_jax.models.head import init_centers
from adaptface_jax.training import optim
from adaptface_jax.training.checkpoint import Checkpoints
from adaptface_jax.training.step import init_state, make_step
from tests import made_models as models

CLASSES, DIM, ROWS, KEPT = 45, 12, 8, 10  # of 12 rows on each of 4 shards, the last with padding
rng = np.random.default_rng(0)
EMBEDDINGS = jnp.asarray(rng.standard_normal((ROWS, DIM)), jnp.float32)
CENTERS = jnp.asarray(0.01 * rng.standard_normal((CLASSES, DIM)), jnp.float32)
LABELS = jnp.asarray(np.r_[0, 0, CLASSES - 1, rng.integers(CLASSES, size=ROWS - 3)], jnp.int32)


@pytest.fixture(scope="module")
def sampler() -> ClassSampler:
    return ClassSampler(make_mesh(jax.devices(), 4), CLASSES, KEPT)


@pytest.fixture(scope="module")
def draws(sampler):
    """(classes [200, 40] in the order of the drawn rows, labels [200, B], weights [200, 40])."""
    draw = jax.jit(lambda seed: sampler.draw(jax.random.key(seed), LABELS))
    found = [jax.device_get(draw(seed)) for seed in range(200)]
    index, labels, weights = (np.array(part) for part in zip(*found, strict=True))
    return index + np.repeat(np.arange(4) * sampler.shard_rows, KEPT), labels, weights


def test_each_shard_draws_its_positives_and_as_many_others_as_fit(draws):
    classes, labels, weights = draws
    for drawn, places, weight in zip(classes, labels, weights, strict=True):
        assert len(set(drawn)) == 4 * KEPT
        assert np.array_equal(drawn[places], LABELS)  # every label is among the drawn
        assert np.all(weight[places] == 1)
        for shard in range(4):
            mine = drawn[shard * KEPT : (shard + 1) * KEPT]
            assert np.all(np.diff(mine) > 0) and np.all(mine // 12 == shard)
    assert not np.array_equal(classes[0], classes[1])


def test_every_other_class_is_equally_likely_and_weighted_by_its_inverse_probability(draws):
    classes, _, weights = draws
    taken = np.zeros((len(classes), 48))
    np.put_along_axis(taken, classes, weights, axis=1)
    # The mean of weight times presence is 1 for every class: the estimate of any sum over classes is unbiased.
    assert np.allclose(taken[:, :CLASSES].mean(axis=0), 1, atol=4 * np.sqrt(1 / len(classes)))
    assert taken[:, :CLASSES].mean() == pytest.approx(1, abs=1e-6)  # and exact for a constant, in every draw
    real = weights[classes < CLASSES]
    assert real.min() >= 1 and real.max() < 2


def test_the_sum_of_exponentials_has_the_mean_of_the_whole_sum(draws):
    classes, _, weights = draws
    exponentials = np.exp(8 * np.asarray(unit(EMBEDDINGS) @ unit(padded_to_48(CENTERS)).T, np.float64))
    exponentials[:, CLASSES:] = 0
    sums = np.stack([(exponentials[:, c] * w).sum(axis=1) for c, w in zip(classes, weights, strict=True)])
    error = sums.std(axis=0) / np.sqrt(len(sums))
    assert np.all(np.abs(sums.mean(axis=0) - exponentials.sum(axis=1)) < 4 * error)


def padded_to_48(centers):
    return jnp.pad(centers, ((0, 3), (0, 0)))


def reference(classes, weights):
    """(mean loss, gradients of embeddings and of all centers) for some weighted classes, on one device."""
    real, config = classes < CLASSES, LossConfig(scale=16.0)
    places = {int(c): i for i, c in enumerate(classes[real])}
    labels = jnp.asarray([places[int(label)] for label in LABELS])

    def mean(embeddings, centers):
        rows = centers[classes[real]]
        out = margin_loss(config, embeddings, rows, labels, init_statistics(), jnp.asarray(weights[real]))
        return jnp.mean(out.loss)

    return jax.jit(jax.value_and_grad(mean, argnums=(0, 1)))(EMBEDDINGS, CENTERS)


@pytest.mark.parametrize("chunk", [0, 3])
def test_on_a_mesh_loss_and_gradients_are_those_of_one_device(sampler, draws, chunk):
    config, mesh = LossConfig(scale=16.0, class_chunk=chunk), sampler.mesh

    @jax.jit
    def sharded(embeddings, centers, seed):
        drawn = sampler.draw(jax.random.key(seed), LABELS)

        def mean(embeddings, rows):
            out = class_loss(config, embeddings, rows["centers"], drawn.labels, init_statistics(), mesh, drawn.weights)
            return jnp.mean(out.loss)

        tree = {"centers": centers}
        rows = sampler.take(tree, drawn)
        loss, (d_embeddings, d_rows) = jax.value_and_grad(mean, argnums=(0, 1))(embeddings, rows)
        return loss, d_embeddings, sampler.put(jax.tree.map(jnp.zeros_like, tree), d_rows, drawn)["centers"]

    given = (
        jax.device_put(EMBEDDINGS, sharding(mesh, "batch")),
        jax.device_put(models.padded(CENTERS, mesh), sharding(mesh, "class")),
    )
    classes, _, weights = draws
    loss, d_embeddings, d_centers = sharded(*given, 0)
    expected, (e, c) = reference(classes[0], weights[0])
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(d_embeddings, e, atol=1e-6)
    np.testing.assert_allclose(d_centers[:CLASSES], c, atol=2e-5)
    assert not np.any(d_centers[CLASSES:])
    undrawn = np.setdiff1d(np.arange(CLASSES), classes[0])
    assert len(undrawn) and not np.any(np.asarray(d_centers)[undrawn])


PUBLISHED = {
    "curricularface": LossConfig(name="curricularface", scale=8.0, margin=0.5),
    "magface": LossConfig(name="magface", scale=8.0),
    "elasticface": LossConfig(scale=8.0, margin_std=0.05),
    "sub-centers": LossConfig(name="arcface", scale=8.0, margin=0.5, subcenters=3),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_published_margin_has_the_mean_of_its_whole_sum(name):
    """exp(loss) is the sum over the target's exponential; with every class drawn, the loss itself is the whole one."""
    config, key = PUBLISHED[name], jax.random.key(5)
    centers = jnp.asarray(np.random.default_rng(6).standard_normal((CLASSES, DIM * config.subcenters)), jnp.float32)
    mesh = make_mesh(jax.devices()[:1])

    @functools.partial(jax.jit, static_argnums=1)
    def loss(seed, kept):
        sampler = ClassSampler(mesh, CLASSES, kept)
        drawn = sampler.draw(jax.random.key(seed), LABELS)
        rows = sampler.take({"centers": centers}, drawn)["centers"]
        out = class_loss(config, EMBEDDINGS, rows, drawn.labels, init_statistics(config.name), mesh, drawn.weights, key)
        return out.loss, out.statistics

    whole = margin_loss(config, EMBEDDINGS, centers, LABELS, init_statistics(config.name), None, key)
    all_drawn, statistics = loss(0, CLASSES)
    np.testing.assert_allclose(all_drawn, whole.loss, rtol=1e-5)
    np.testing.assert_allclose(statistics, whole.statistics, rtol=1e-5)
    sums = np.stack([np.exp(loss(seed, 15)[0], dtype=np.float64) for seed in range(200)])
    error = sums.std(axis=0) / np.sqrt(len(sums))
    assert np.all(np.abs(sums.mean(axis=0) - np.exp(np.float64(whole.loss))) < 4 * error)
    assert np.all(error > 0)


def test_the_size_of_a_sample_holds_any_batch():
    mesh = make_mesh(jax.devices(), 4)
    assert class_sampler(LossConfig(sample_rate=0.1), 4000, 50, mesh).kept == 100
    assert class_sampler(LossConfig(sample_rate=0.1), 4000, 200, mesh).kept == 201  # all of them may be in one shard
    assert class_sampler(LossConfig(sample_rate=0.1), 4000, 1000, mesh) is None  # which are all of its classes
    assert class_sampler(LossConfig(), 4000, 50, mesh) is None


def head_only(mesh, config: LossConfig):
    """A loss whose embedding is trained directly: only the head."""

    def loss(trainable, frozen, batch, statistics, key, row_weights=None):
        embeddings = batch["image"] @ trainable["kernel"]
        out = class_loss(config, embeddings, trainable["centers"], batch["label"], statistics, mesh, row_weights)
        return jnp.mean(out.loss * batch["weight"]), ({"loss": jnp.mean(out.loss)}, out.statistics)

    return loss


def trained(train: TrainConfig, config: LossConfig, steps: int = 3, devices: int = 8, model: int = 4, begin=None):
    """The states before and after each of some steps of only the head; the images are of classes 0 and 1.

    begin: maps the first state to another one.
    """
    mesh = make_mesh(jax.devices()[:devices], model)
    drawing = class_sampler(config, CLASSES, 2, mesh)
    optimizer = optim.optimizer(train, rate := optim.schedule(train, 10, 100), loss=config)
    trainable = {"kernel": jnp.eye(DIM), "centers": models.padded(CENTERS, mesh)}
    state = place(mesh, init_state(trainable, optimizer, init_statistics()))
    state = state if begin is None else begin(state)
    key = jax.device_put(jax.random.key(3), sharding(mesh))
    step = make_step(head_only(mesh, config), optimizer, rate, mesh, sampler=drawing)
    states = [jax.device_get(state)]
    labels = np.r_[0, 1, np.zeros(ROWS - 2, int)].astype(np.int32)
    for i in range(int(state.step), steps):
        batch = {"image": EMBEDDINGS * (1 + i), "label": labels, "weight": np.ones(ROWS, np.float32)}
        state, _ = step({}, state, jax.device_put(batch, sharding(mesh, "batch")), key)
        states.append(jax.device_get(state))
    return states


SAMPLED = LossConfig(scale=16.0, sample_rate=0.3)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_rows_that_are_not_drawn_keep_center_and_moments(name):
    train = TrainConfig(optimizer=name, learning_rate=0.1, weight_decay=0.1, schedule="constant")
    states = trained(train, SAMPLED)
    for before, after in itertools.pairwise(states):
        moved = np.any(before.trainable["centers"] != after.trainable["centers"], axis=1)
        assert 4 * 3 <= moved.sum() <= 4 * 4 and moved[0] and moved[1]
        rows = [x for x in jax.tree.leaves(after.opt_state["rows"]) if len(np.shape(x)) and len(x) == len(moved)]
        old = [x for x in jax.tree.leaves(before.opt_state["rows"]) if len(np.shape(x)) and len(x) == len(moved)]
        assert len(rows) == (3 if name == "adamw" else 1)
        for a, b in zip(old, rows, strict=True):
            assert np.array_equal(a[~moved], b[~moved])


def test_a_row_that_is_always_drawn_is_trained_as_by_plain_adamw():
    """With every class drawn, the rule for rows equals that for the rest, step for step."""
    train = TrainConfig(learning_rate=0.01, weight_decay=0.1, schedule="constant", clip_norm=1.0)
    plain = trained(train, LossConfig(scale=16.0))
    own = trained(train, LossConfig(scale=16.0, learning_rate=0.01))
    np.testing.assert_allclose(own[-1].trainable["centers"], plain[-1].trainable["centers"], atol=1e-6)
    np.testing.assert_allclose(own[-1].trainable["kernel"], plain[-1].trainable["kernel"], atol=1e-6)


def test_a_rows_first_step_is_adams_first_whenever_it_comes():
    train = TrainConfig(learning_rate=0.01, weight_decay=0.0, schedule="constant")
    states = trained(train, SAMPLED, steps=4)
    seen = np.zeros(len(states[0].trainable["centers"]), bool)
    late = 0
    for step, (before, after) in enumerate(itertools.pairwise(states)):
        change = np.abs(after.trainable["centers"] - before.trainable["centers"])
        first = np.any(change > 0, axis=1) & ~seen
        # Adam's first step is the rate times the sign of the gradient.
        assert np.allclose(change[first], 0.01, rtol=1e-2)
        late += int(step > 0) * int(first.sum())
        seen |= first
    assert late > 0


def test_a_run_resumed_from_a_checkpoint_draws_and_computes_the_same(tmp_path):
    """All of its state, bit for bit: parameters, moments, and the average of the weights."""
    train = TrainConfig(learning_rate=0.01, schedule="constant", ema=0.9)
    whole = trained(train, SAMPLED, steps=4)

    def restored(like):
        with Checkpoints(tmp_path) as checkpoints:
            checkpoints.save(2, jax.tree.map(lambda x, y: jax.device_put(x, y.sharding), whole[2], like))
            checkpoints.wait()
            return checkpoints.restore(2, like)

    again = trained(train, SAMPLED, steps=4, begin=restored)
    average = again[-1].opt_state.average["kernel"]
    assert np.any(average != again[-1].trainable["kernel"]) and np.any(average != whole[2].opt_state.average["kernel"])
    jax.tree.map(np.testing.assert_array_equal, again[-1], whole[-1])


def test_decay_of_a_drawn_row_is_that_of_the_steps_it_missed_in_the_mean():
    train = TrainConfig(optimizer="sgd", momentum=0.0, learning_rate=1.0, weight_decay=1e-3, schedule="constant")
    rule = optim.optimizer(train, 1.0, loss=SAMPLED)
    tree = {"kernel": jnp.ones((2, 2)), "centers": jnp.ones((3, 2))}
    zero = jax.tree.map(jnp.zeros_like, tree)
    updates, _ = rule.update(zero, rule.init(tree), tree, row_weights=jnp.array([1.0, 4.0, 10.0]))
    np.testing.assert_allclose(updates["centers"][:, 0], [-1e-3, -4e-3, -1e-2], rtol=1e-6)
    np.testing.assert_allclose(updates["kernel"], -1e-3, rtol=1e-6)


def test_centers_may_have_their_own_optimizer_and_rate():
    train = TrainConfig(learning_rate=1e-3, weight_decay=0.0, schedule="constant")
    states = trained(train, LossConfig(scale=16.0, optimizer="sgd", learning_rate=0.5), steps=1, devices=1, model=1)
    loss = head_only(make_mesh(jax.devices()[:1]), LossConfig(scale=16.0))
    labels = jnp.asarray([0, 1, *[0] * (ROWS - 2)])
    batch = {"image": EMBEDDINGS, "label": labels, "weight": jnp.ones(ROWS)}
    tree = {"kernel": jnp.eye(DIM), "centers": CENTERS}
    gradient = jax.jit(jax.grad(lambda t: loss(t, {}, batch, init_statistics(), None)[0]))(tree)["centers"]
    change = states[1].trainable["centers"] - states[0].trainable["centers"]
    np.testing.assert_allclose(change, -0.5 * gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("chunk", [0, 8])
def test_bfloat16_products_keep_loss_and_gradients(chunk):
    mesh = make_mesh(jax.devices()[:1])

    def value(dtype):
        config = LossConfig(dtype=dtype, class_chunk=chunk)

        def mean(embeddings, centers):
            return jnp.mean(class_loss(config, embeddings, centers, LABELS, init_statistics(), mesh).loss)

        return jax.jit(jax.value_and_grad(mean, argnums=(0, 1)))(EMBEDDINGS, CENTERS)

    (exact, gradients), (rounded, others) = value("float32"), value("bfloat16")
    assert rounded != exact and rounded == pytest.approx(float(exact), abs=0.1)
    for a, b in zip(gradients, others, strict=True):
        assert b.dtype == jnp.float32
        assert np.linalg.norm(a - b) < 0.03 * np.linalg.norm(a)


def test_the_expected_first_loss_of_a_sample_is_nearly_that_of_all_classes():
    config = LossConfig(scale=16.0)
    mean, _ = expected_first_loss(config, 4000, 64, 64)
    sampled, _ = expected_first_loss(config, 4000, 64, 64, kept=800)
    assert sampled == pytest.approx(mean, abs=0.1)
    classes, labels = init_centers(jax.random.key(0), 4000, 64), jnp.arange(64) * 7
    embeddings = jnp.asarray(rng.standard_normal((64, 64)), jnp.float32)
    drawing = ClassSampler(make_mesh(jax.devices()[:1]), 4000, 800)

    @jax.jit
    def first(embeddings):
        drawn = drawing.draw(jax.random.key(1), labels)
        rows = drawing.take({"centers": classes}, drawn)["centers"]
        return margin_loss(config, embeddings, rows, drawn.labels, init_statistics(), drawn.weights).loss.mean()

    assert first(embeddings) == pytest.approx(sampled, abs=1)
