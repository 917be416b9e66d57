"""The training step: shardings, accumulation, transfers, compilation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.core import trees
from adaptface_jax.distributed.mesh import make_mesh, sharding
from adaptface_jax.losses.margin import init_statistics
from adaptface_jax.training import optim
from adaptface_jax.training.recognition.loss import make_loss
from adaptface_jax.training.step import init_state, make_step, normalized
from tests import made_models as models

KINDS = {
    "lora": models.config("lora"),
    "dalora frozen": models.config("dalora", router="frozen", balance_weight=0.1),
    "dalora block": models.config("dalora", router="block:1"),
    "probe": models.config("none"),
    "full": models.config("full"),
}


class Run:
    """A step function with its state on some of the fake devices."""

    def __init__(self, settings, devices: int = 1, dtype=jnp.float32, total: int = 100):
        self.mesh = make_mesh(jax.devices()[:devices])
        recognizer, frozen, trainable = models.build(settings, dtype=dtype)
        rate = optim.schedule(settings.train, 10, total)
        optimizer = optim.optimizer(settings.train, rate)
        everywhere = sharding(self.mesh)
        self.frozen = jax.device_put(frozen, everywhere)
        # A copy: the step donates the state's buffers.
        trainable = jax.tree.map(jnp.array, trainable)
        self.state = jax.device_put(init_state(trainable, optimizer, init_statistics()), everywhere)
        self.key = jax.device_put(jax.random.key(0), everywhere)
        self.function = make_step(
            make_loss(recognizer, self.mesh), optimizer, rate, self.mesh, recognizer.config.train.grad_accum
        )

    def put(self, batch):
        return jax.device_put(batch, sharding(self.mesh, "batch"))

    def steps(self, count: int, seed: int = 0) -> list[float]:
        losses = []
        for i in range(count):
            self.state, metrics = self.function(
                self.frozen, self.state, self.put(models.batch(seed=seed + i)), self.key
            )
            losses.append(float(metrics["loss"]))
        return losses


@pytest.mark.parametrize("kind", ["dalora frozen", "dalora block", "full"])
def test_eight_devices_give_the_losses_of_one(kind):
    one, eight = Run(KINDS[kind]), Run(KINDS[kind], devices=8)
    losses = one.steps(3)
    assert np.allclose(eight.steps(3), losses, rtol=1e-5)
    assert losses[0] != losses[1]


def test_accumulated_parts_give_the_gradients_of_the_whole_batch():
    whole = models.replace(KINDS["lora"], "augment", flip=False)
    parts = models.replace(whole, "train", grad_accum=4)
    one, four = Run(whole), Run(parts, devices=2)
    batch = models.batch()
    _, first = one.function(one.frozen, one.state, one.put(batch), one.key)
    _, second = four.function(four.frozen, four.state, four.put(batch), four.key)
    for name in ("loss", "grad_norm", "target_cosine", "grad_norm/adapter", "grad_norm/centers"):
        assert second[name] == pytest.approx(float(first[name]), rel=1e-5), name


def test_a_warm_loop_transfers_nothing_by_itself_and_never_compiles_again(monkeypatch):
    run = Run(KINDS["dalora block"])
    run.steps(1)
    batches = [run.put(models.batch(seed=i)) for i in range(4)]
    reads = []
    real = type(run.state.step).__array__
    monkeypatch.setattr(type(run.state.step), "__array__", lambda self, *a, **k: reads.append(1) or real(self, *a, **k))
    size = run.function._cache_size()
    with jax.transfer_guard("disallow"):
        for batch in batches:
            run.state, _ = run.function(run.frozen, run.state, batch, run.key)
    assert run.function._cache_size() == size == 1
    assert reads == []


def test_the_state_is_donated_and_the_frozen_tree_untouched():
    run = Run(KINDS["lora"])
    before = jax.tree.map(np.asarray, run.frozen)
    old = run.state
    run.steps(2)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old.trainable))
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(run.frozen), strict=True))


def test_the_optimizer_holds_moments_of_the_trainable_tree_alone():
    run = Run(KINDS["lora"])
    moments = sum(leaf.size for leaf in jax.tree.leaves(run.state.opt_state) if leaf.ndim)
    assert moments == 2 * trees.count(run.state.trainable)


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_that_should_learn_does(kind):
    run = Run(KINDS[kind])
    before = jax.tree.map(np.asarray, trees.flatten(run.state.trainable))
    # B starts at zero: A has a gradient from the second step on.
    losses = run.steps(1) + [run.steps(1)[0] for _ in range(11)]
    unmoved = [path for path, leaf in trees.flatten(run.state.trainable).items() if np.array_equal(before[path], leaf)]
    # Attention does not change when the same vector is added to every key.
    assert unmoved in ([], ["backbone/register_tokens"])
    assert losses[-1] < losses[0]


def with_bad_rows(rows: tuple[int, ...], seed: int) -> dict[str, np.ndarray]:
    """A batch of 16 in which some rows have zero weight and arbitrary content."""
    batch, rng = models.batch(), np.random.default_rng(seed)
    for row in rows:
        batch["image"][row] = rng.integers(0, 256, batch["image"][row].shape)
        batch["domain"][row], batch["weight"][row] = 0, 0
    return batch


def test_rows_without_weight_change_nothing():
    run, rows = Run(KINDS["dalora block"]), (0, 3, 4, 15)
    one, other = (Run(KINDS["dalora block"]) for _ in range(2))
    one.function = other.function = run.function
    metrics = []
    for who, seed in ((one, 1), (other, 2)):
        who.state, found = who.function(who.frozen, who.state, who.put(with_bad_rows(rows, seed)), who.key)
        metrics.append({name: float(value) for name, value in found.items()})
    assert metrics[0] == metrics[1]
    for a, b in zip(jax.tree.leaves(one.state), jax.tree.leaves(other.state), strict=True):
        assert np.array_equal(a, b)


def test_means_are_over_the_rows_that_count_however_the_batch_is_split():
    whole = models.replace(KINDS["lora"], "augment", flip=False)
    one, four = Run(whole), Run(models.replace(whole, "train", grad_accum=4))
    batch = with_bad_rows((0, 4, 8, 12, 1), 1)  # part 0 has no row that counts
    # The means are over the 11 rows that count: here they fill the batch, the first five as halves.
    good = [row for row in range(16) if batch["weight"][row]]
    same = {name: value[np.array(good + good[:5])] for name, value in batch.items()}
    same["weight"] = np.array([0.5] * 5 + [1.0] * 6 + [0.5] * 5, np.float32)
    _, third = one.function(one.frozen, jax.tree.map(jnp.array, one.state), one.put(same), one.key)
    _, first = one.function(one.frozen, one.state, one.put(batch), one.key)
    _, second = four.function(four.frozen, four.state, four.put(batch), four.key)
    for name in ("loss", "grad_norm", "target_cosine", "grad_norm/adapter", "grad_norm/centers"):
        assert second[name] == pytest.approx(float(first[name]), rel=1e-5), name
        assert third[name] == pytest.approx(float(first[name]), rel=1e-5), name


def test_weights_of_one_are_exactly_no_weights_and_a_batch_without_weight_has_no_loss():
    for size in (1, 3, 7, 16, 100, 384):
        assert np.array_equal(normalized(jnp.ones(size)), np.ones(size))
    run = Run(KINDS["lora"])
    batch = models.batch() | {"weight": np.zeros(16, np.float32)}
    _, metrics = run.function(run.frozen, run.state, run.put(batch), run.key)
    assert metrics["loss"] == metrics["grad_norm"] == 0


def test_remat_and_unroll_change_nothing_but_time():
    plain = KINDS["dalora block"]
    losses = Run(plain).steps(2)
    changed = models.replace(plain, "train", remat=True, unroll=3)
    assert np.allclose(Run(changed).steps(2), losses, rtol=1e-5)


def test_bfloat16_ends_within_two_percent_of_float32():
    settings = models.replace(KINDS["lora"], "train", learning_rate=3e-3)
    exact = Run(settings, total=50).steps(50)
    rounded = Run(settings, dtype=jnp.bfloat16, total=50).steps(50)
    assert exact[-1] < 0.9 * exact[0]
    assert rounded[-1] == pytest.approx(exact[-1], rel=0.02)


def test_bfloat16_keeps_the_direction_of_the_feature():
    exact, frozen, trainable = models.build(KINDS["lora"])
    rounded, low, _ = models.build(KINDS["lora"], dtype=jnp.bfloat16)
    images = models.images(8)
    a = np.asarray(exact.embed(frozen, trainable, images).feature, np.float64)
    b = np.asarray(rounded.embed(low, trainable, images.astype(jnp.bfloat16)).feature, np.float64)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosine.min() > 0.999


def test_metrics_report_what_happens():
    run = Run(KINDS["dalora frozen"])
    _, metrics = run.function(run.frozen, run.state, run.put(models.batch()), run.key)
    gates = sum(float(metrics[f"gate/mean_{k}"]) for k in range(3))
    assert gates == pytest.approx(1, abs=1e-5)
    assert 0 < metrics["gate/entropy"] <= np.log(3)
    weighted = metrics["loss"] + 0.1 * metrics["gate/balance"] + 0.1 * metrics["gate/domain_loss"]
    assert metrics["total_loss"] == pytest.approx(float(weighted), rel=1e-6)
    parts = [metrics[f"grad_norm/{part}"] for part in ("adapter", "router", "head", "centers")]
    assert metrics["grad_norm"] == pytest.approx(float(jnp.sqrt(sum(x**2 for x in parts))), rel=1e-5)
    assert metrics["learning_rate"] == pytest.approx(1e-3)
