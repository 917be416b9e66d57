"""The networks of the classification studies: exact sizes, torch's results, the same on any number of devices."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from adaptface_jax.config import overrides, recipes
from adaptface_jax.config.classification import ModelConfig
from adaptface_jax.core import trees
from adaptface_jax.models.classifier import Classifier
from adaptface_jax.models.layers.conv import Conv, kernel_gradient
from tests import classifier_runs as runs

GOLDEN = np.load(Path(__file__).parents[1] / "goldens" / "classifiers.npz")


@pytest.mark.parametrize(
    ("recipe", "outputs", "count"),
    [
        ("celeba_cnn", 5, 372_997),
        ("tiny_imagenet_resnet", 200, 2_826_504),
        ("tiny_imagenet_resnet_a", 200, 4_376_584),
        ("tiny_imagenet_resnet_b", 200, 2_826_504),
        ("tiny_imagenet_resnet_special", 200, 2_826_504),
    ],
)
def test_the_recipes_have_the_published_sizes(recipe, outputs, count):
    model = overrides.freeze(recipes.load(recipe)).model
    params, _ = jax.eval_shape(lambda: Classifier(model, outputs, jnp.float32).init(0))
    assert trees.count(params) == count


def test_a_narrower_last_convolution_is_a_smaller_network():
    model = ModelConfig(channels_block3=192)
    params, moments = jax.eval_shape(lambda: Classifier(model, 5, jnp.float32).init(0))
    assert trees.count(params) == 372_997 - 64 * (128 * 9 + 3 + 5)
    assert trees.count(moments) == 2 * (64 + 128 + 192)


@pytest.mark.slow
@pytest.mark.parametrize(("case", "devices"), [("cnn", 1), ("resnet", 1), ("resnet", 8), ("resnet_gelu_plain", 1)])
def test_twenty_steps_are_torchs(case, devices):
    """Losses, running moments and Dropout2d included; the file comes only from torch. Moments are over the full batch,
    on one device, where the kernels' gradients are computed image by image, and on eight."""
    found = runs.run(runs.CASES[case], runs.GOLDEN, devices, by_image=devices == 1)
    np.testing.assert_allclose(found["losses"], GOLDEN[f"{case}/losses"], rtol=2e-5)
    np.testing.assert_allclose(found["logits"], GOLDEN[f"{case}/logits"], atol=1e-4)
    for path, leaf in found["moments"].items():
        np.testing.assert_allclose(leaf, GOLDEN[f"{case}/{path}"], rtol=1e-4, atol=5e-5, err_msg=path)


def test_inference_changes_no_moment_and_drops_nothing():
    classifier = Classifier(dataclasses.replace(runs.RESNET, dropout=0.9), runs.OUTPUTS, jnp.float32)
    params, moments = (trees.unflatten(flat) for flat in runs.made(classifier.config))
    images = jnp.asarray(runs.normalized(runs.batches(classifier.config)[0]["image"]))
    logits, after = jax.jit(classifier.logits)(params, moments, images)
    alone, _ = jax.jit(classifier.logits)(params, moments, images[:3])
    np.testing.assert_allclose(logits[:3], alone, rtol=1e-5, atol=1e-6)
    assert trees.flatten(after).keys() == trees.flatten(moments).keys()
    for path, leaf in trees.flatten(after).items():
        np.testing.assert_array_equal(leaf, trees.flatten(moments)[path], err_msg=path)


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2)])
@pytest.mark.parametrize("side", [8, 7])
def test_the_gradient_taken_image_by_image_is_the_gradient(size, stride, side):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(3, side, side, 8)), jnp.float32)
    conv = Conv(8, 4, size, stride=stride, use_bias=False, rngs=nnx.Rngs(0))
    graph, state = nnx.split(conv)

    def loss(state, by_image):
        return jnp.sum(jnp.sin(nnx.merge(graph, state)(x, by_image)))

    plain, by_image = (jax.grad(loss)(nnx.to_pure_dict(state), way)["kernel"] for way in (False, True))
    np.testing.assert_allclose(by_image, plain, rtol=1e-4, atol=1e-5)
    assert kernel_gradient(x, jnp.ones((3, -(-side // stride), -(-side // stride), 4)), size, stride).shape == (
        size, size, 8, 4,
    )  # fmt: skip
