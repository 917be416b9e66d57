# SPDX-License-Identifier: Apache-2.0
"""Frozen features that are computed once: the same training with a forward pass less, when, and of which images."""

from __future__ import annotations

import itertools
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.augmentation.augment import augment, mirrored, preprocess
from adaptface_jax.data.bad_records import BadRecords
from adaptface_jax.data.pipeline import batches, record_keys
from adaptface_jax.data.sources.from_path import open_form
from adaptface_jax.distributed.mesh import make_mesh, sharding
from adaptface_jax.losses.margin import init_statistics
from adaptface_jax.replay import __main__ as replay
from adaptface_jax.train import __main__ as train
from adaptface_jax.training import optim, plan
from adaptface_jax.training.arithmetic import flops
from adaptface_jax.training.evidence import read_lines
from adaptface_jax.training.recognition.features import changing, computed, demands, make_features
from adaptface_jax.training.recognition.loss import make_loss
from adaptface_jax.training.step import init_state, make_step
from tests import made_models as models
from tests.running import call, write_config

FROZEN_ROUTER = models.config("dalora", router="frozen")
SOURCE = open_form("synthetic:identities=4,images=5")  # 20 images


def test_a_step_with_known_features_is_the_step_without_in_fewer_passes():
    """Mirrored images, images to keep, accumulated parts, two devices: everything that shapes the rows of a batch."""
    settings = models.replace(models.replace(FROZEN_ROUTER, "loss", keep_weight=2.0), "train", grad_accum=2)
    recognizer, frozen, trainable = models.build(settings)
    trainable = models.made(trainable, 3)
    mesh = make_mesh(jax.devices()[:2])
    everywhere, rows = sharding(mesh), sharding(mesh, "batch")
    placed = jax.device_put(frozen, everywhere)
    batch = models.batch() | {"keep": models.batch(seed=9)["image"]}
    known = {"feature": make_features(recognizer, mesh, 2)(placed, jax.device_put(batch, rows))}
    known["keep_feature"] = make_features(recognizer, mesh, 1)(
        placed, jax.device_put(batch | {"image": batch["keep"]}, rows)
    )
    rate = optim.schedule(settings.train, 10, 100)
    optimizer = optim.optimizer(settings.train, rate)
    step = make_step(make_loss(recognizer, mesh), optimizer, rate, mesh, 2)
    key, found = jax.device_put(jax.random.key(0), everywhere), []
    for more in ({}, known):
        # A copy: the step donates the state's buffers.
        state = jax.device_put(init_state(jax.tree.map(jnp.array, trainable), optimizer, init_statistics()), everywhere)
        words = placed, state, jax.device_put(batch, rows) | more, key
        traced = step.trace(*words)
        state, metrics = traced.lower().compile()(*words)
        found.append((jax.device_get(metrics), jax.device_get(state.trainable), flops(traced.jaxpr)))
    (metrics, trained, whole), (same, also, less) = found
    for name, value in metrics.items():
        assert same[name] == pytest.approx(value, rel=1e-6, abs=1e-6), name
    for a, b in zip(jax.tree.leaves(trained), jax.tree.leaves(also), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    # The router's pass over the batch, and the router's and the distance's over the images to keep.
    one = flops(jax.make_jaxpr(recognizer.plain_feature)(frozen, models.images(16)).jaxpr)
    assert whole - less == 3 * one


def test_mirrored_says_which_images_augment_flips():
    images = models.batch()["image"]
    key = jax.random.key(5)
    flipped = np.asarray(mirrored(key, 16))
    assert 0 < flipped.sum() < 16
    expected = np.where(flipped[:, None, None, None], images[:, :, ::-1], images)
    assert np.array_equal(augment(key, images, flip=True, randaugment_ops=0, randaugment_magnitude=1), expected)


def test_every_record_has_its_own_features_whatever_the_size_of_a_batch():
    """20 images in batches of 16: the last one is filled up."""
    recognizer, frozen, _ = models.build(FROZEN_ROUTER)
    mesh = make_mesh(jax.devices()[:2])
    demand = demands(recognizer, SOURCE, None, 100)[0]
    found = computed(demand, recognizer, jax.device_put(frozen, sharding(mesh)), mesh, 32)
    assert found.shape == (20, 2, models.SPEC.width) and found.dtype == np.float32
    assert demand.bytes == found.nbytes and "once before the first step: 5.12 kB" in demand.line()
    images = next(batches(SOURCE, 20, 32, seed=0, threads=0))["image"]
    numbers = [list(map(SOURCE.key, range(20))).index(key) for key in record_keys(SOURCE, 20, 0, 1)]
    for form, shown in enumerate((images, images[:, :, ::-1])):
        pictures = preprocess(shown, models.SIZE, recognizer.spec.stats, jnp.float32)
        alone = jax.jit(recognizer.plain_feature)(frozen, pictures)
        np.testing.assert_allclose(found[numbers, form], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("section", "changes", "said"),
    [
        ("augment", {"shift": 0.1}, "in every step, one more forward pass: augment.shift changes the images"),
        ("augment", {"jpeg": 40}, "augment.jpeg changes the images"),
        (
            "augment",
            {"jpeg": 40, "worsened": 0.0},
            "20 images of data.train and their mirror images, once",
        ),
        ("augment", {"flip": False}, "20 images of data.train, once before the first step: 2.56 kB"),
        ("train", {"feature_cache": 0.0}, "train.feature_cache is 0"),
        ("train", {"feature_cache": 5e-6}, "5.12 kB are more than train.feature_cache=5e-06 GB"),
        ("train", {"batch_size": 4}, "the run's steps see only 40 images"),
        ("adapter", {"router": "block:1"}, None),
        ("adapter", {"kind": "lora"}, None),
    ],
)
def test_the_header_says_whether_features_are_computed_once_and_why_not(section, changes, said):
    recognizer, _, _ = models.build(models.replace(FROZEN_ROUTER, section, **changes), classes=None)
    demand, kept = demands(recognizer, SOURCE, None, 10)
    assert kept is None and (demand is None) == (said is None)
    assert said is None or said in demand.line()


def test_images_to_keep_are_never_augmented_so_theirs_are_computed_once_even_if_others_change():
    settings = models.replace(models.config("lora"), "loss", keep_weight=1.0)
    settings = models.replace(settings, "augment", shift=0.1)
    recognizer, _, _ = models.build(settings, classes=None)
    assert changing(settings.augment) == "augment.shift"
    of_batch, kept = demands(recognizer, SOURCE, (SOURCE, 8), 10)
    assert of_batch is None and "20 images of data.keep, once before the first step: 2.56 kB" in kept.line()
    of_batch, kept = demands(recognizer, SOURCE, None, 10)
    assert kept is None and "augment.shift" in of_batch.why_not, "the batch itself is kept"


def test_a_record_that_was_unreadable_before_the_first_step_has_no_weight_later():
    features = np.arange(20, dtype=np.float32)[:, None, None] + np.zeros((20, 2, 3), np.float32)
    features[7] = np.nan
    options = {"seed": 0, "threads": 0, "features": features}
    log = BadRecords(None, 1)
    for step, batch in enumerate(itertools.islice(batches(SOURCE, 4, 8, bad_records=log, **options), 5), 1):
        keys = record_keys(SOURCE, 4, 0, step)
        for row, key in enumerate(keys):
            bad = key == SOURCE.key(7)
            assert batch["weight"][row] == (not bad)
            assert bad or SOURCE.key(int(batch["feature"][row, 0, 0])) == key
        assert np.isfinite(batch["feature"]).all()
    assert len(log) == 1
    with pytest.raises(InputError, match=r"could not be read when its frozen feature was computed"):
        list(itertools.islice(batches(SOURCE, 4, 8, bad_records=BadRecords(None, 0), **options), 5))


def test_a_run_that_was_stopped_has_the_bits_of_one_that_was_not_and_replays(tmp_path, monkeypatch, capsys):
    settings = {
        "adapter.router": "frozen",
        "data.train": "synthetic:identities=4,images=6,seed=1",
        "data.threads": 0,
        "train.batch_size": 16,
        "train.steps": 6,
        "train.learning_rate": 1e-3,
        "train.log_every": 1,
        "checkpoint.every_steps": 3,
    }
    config, real = write_config(tmp_path / "small.py", settings), plan.batches

    def stopping(*args, **kwargs):
        for step, batch in enumerate(real(*args, **kwargs), 1):
            assert batch["feature"].shape == (16, 2, 128)
            if step == 4:
                signal.raise_signal(signal.SIGTERM)
            yield batch

    assert call(train, f"--config={config}", f"--workdir={tmp_path / 'whole'}") == 0
    said = capsys.readouterr().out
    assert "24 images of data.train and their mirror images, once before the first step" in said
    assert "features  24 images in " in said
    with monkeypatch.context() as patch:
        patch.setattr(plan, "batches", stopping)
        assert call(train, f"--config={config}", f"--workdir={tmp_path / 'stopped'}") == 75
    assert call(train, f"--config={config}", f"--workdir={tmp_path / 'stopped'}") == 0
    states = [
        {line["step"]: line["state"] for line in read_lines(tmp_path / name) if "state" in line}
        for name in ("whole", "stopped")
    ]
    assert states[0] == states[1] and states[0].keys() == set(range(7))
    capsys.readouterr()
    assert call(replay, tmp_path / "stopped", "--share=100") == 0
    assert "bit for bit" in capsys.readouterr().out
