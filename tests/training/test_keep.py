"""Staying close to the frozen model: the distance, on which images, and its cost."""

from __future__ import annotations

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.config import overrides
from adaptface_jax.core.errors import InputError
from adaptface_jax.data.augmentation.augment import preprocess
from adaptface_jax.data.sources.from_path import open_form
from adaptface_jax.distributed.mesh import make_mesh
from adaptface_jax.losses.keep import feature_distance
from adaptface_jax.losses.margin import init_statistics
from adaptface_jax.models.adapters import router
from adaptface_jax.training.plan import Plan, placed_batches
from adaptface_jax.training.recognition.keep import open_keep
from adaptface_jax.training.recognition.loss import make_loss
from tests import made_models as models

SETTINGS = models.replace(
    models.replace(models.config("dalora", null_expert=True, gate="top1"), "loss", keep_weight=4.0),
    "augment",
    flip=False,
)


def test_distance_is_one_minus_the_cosine_of_the_rows_that_count():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 5, 8)).astype(np.float32)
    weight = np.array([1, 0, 2, 1, 0], np.float32)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert feature_distance(a, b, weight) == pytest.approx(np.average(1 - cosine, weights=weight), rel=1e-5)
    assert feature_distance(a, b, jnp.zeros(5)) == 0
    assert feature_distance(a, 3 * a, weight) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("where", ["set", "null domain"])
def test_the_loss_counts_only_the_old_images(where):
    """All of data.keep; in a batch with known domains, those of the last one, the null expert's."""
    recognizer, frozen, trainable = models.build(SETTINGS)
    trainable = models.made(trainable, 3)
    batch = models.batch()
    old, counts = batch["image"], batch["domain"][:, 2]
    if where == "set":
        old = batch["keep"] = models.batch(seed=9)["image"][:8]
        del batch["domain"]
        counts = np.ones(8)
    loss = jax.jit(make_loss(recognizer, make_mesh(jax.devices()[:1])))
    total, (metrics, _) = loss(trainable, frozen, batch, init_statistics(), jax.random.key(0))
    assert metrics["total_loss"] == total and ("gate/keep_mean" in metrics) == (where == "set")
    pictures = preprocess(old, models.SIZE, recognizer.spec.stats, jnp.float32)
    dropout = jax.random.split(jax.random.key(0))[1]
    key = jax.random.fold_in(dropout, 1) if where == "set" else dropout
    after = jax.jit(recognizer.embed)(frozen, trainable, pictures, key).feature
    before = jax.jit(recognizer.plain_feature)(frozen, pictures)
    expected = float(feature_distance(after, before, counts))
    assert float(metrics["keep"]) == pytest.approx(expected, rel=1e-4) and expected > 0
    # An adapter that does nothing keeps everything.
    trainable["adapter"] = jax.tree.map(jnp.zeros_like, trainable["adapter"])
    _, (metrics, _) = loss(trainable, frozen, batch, init_statistics(), jax.random.key(0))
    assert metrics["keep"] == pytest.approx(0, abs=1e-6)


def test_a_null_expert_learns_to_separate_old_from_new_images():
    rng = np.random.default_rng(0)
    old, new = (jnp.asarray(rng.standard_normal((40, 8)) + shift, jnp.float32) for shift in (1, -1))
    params = router.init_router(jax.random.key(0), 8, 3)

    @jax.jit
    def descend(params):
        def loss(params):
            return router.old_or_new_loss(router.gates(params, old), router.gates(params, new), jnp.ones(40))

        return jax.tree.map(lambda p, g: p - 0.3 * g, params, jax.grad(loss)(params))

    for _ in range(40):
        params = descend(params)
    null = [np.mean(np.argmax(router.gates(params, x), axis=1) == 2) for x in (old, new)]
    assert null[0] > 0.95 and null[1] < 0.05


def test_which_images_accompany_a_batch_depends_only_on_the_step():
    settings = models.replace(SETTINGS, "data", keep="synthetic:identities=3,images=4")
    settings = models.replace(settings, "train", keep_batch=8)
    mesh = make_mesh(jax.devices()[:1])
    source, keep = open_form("synthetic:identities=4,images=5"), open_keep(settings, mesh)
    parts = dict.fromkeys(("frozen", "trainable", "statistics", "loss", "expected_loss", "record"))
    plan = Plan(config=settings, mesh=mesh, source=source, evaluated=False, stored_size=32, keep=keep, **parts)
    seen = [batch["keep"] for batch in itertools.islice(placed_batches(plan, 0), 4)]
    again = [batch["keep"] for batch in itertools.islice(placed_batches(plan, 2), 2)]
    assert seen[0].shape == (8, 32, 32, 3)
    for a, b in zip(seen[2:], again, strict=True):
        assert np.array_equal(a, b)
    assert not np.array_equal(seen[0], seen[1])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss.keep_weight": 1.0, "adapter.kind": "full"}, "loss.keep_weight: adapter.kind=full keeps no frozen"),
        ({"loss.keep_weight": 1.0, "adapter.kind": "none"}, "loss.keep_weight: adapter.kind=none leaves the feature"),
        ({"data.keep": "old"}, "data.keep: is for loss.keep_weight, which is 0"),
        ({"loss.keep_weight": 1.0, "train.keep_batch": 8}, "train.keep_batch: counts images of data.keep"),
    ],
)
def test_settings_that_keep_nothing_are_refused(changes, said):
    config = overrides.defaults()
    config.update_from_flattened_dict(changes)
    with pytest.raises(InputError, match=f"^{said}"):
        overrides.freeze(config)


@pytest.mark.parametrize(("size", "path", "said"), [(7, "", "train.keep_batch: 7"), (4, "/nowhere", "data.keep: ")])
def test_a_set_that_cannot_be_split_or_opened_is_refused(size, path, said):
    settings = models.replace(SETTINGS, "data", keep=path or "synthetic:identities=3,images=4")
    settings = dataclasses.replace(settings, train=dataclasses.replace(settings.train, keep_batch=size))
    with pytest.raises(InputError, match=f"^{said}"):
        open_keep(settings, make_mesh())
