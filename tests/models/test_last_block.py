"""The last block computes only the class token: the same feature and gradients for less arithmetic."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.models import vit
from adaptface_jax.models.recognizer import Recognizer
from adaptface_jax.training.arithmetic import flops
from tests import made_models as models


def passes(kind: str, **adapter):
    """(a pass with every token through every block, the actual pass) from the adapter to the feature."""
    recognizer, frozen, trainable = models.build(models.config(kind, **adapter))
    pixels = models.images()
    low_rank = trainable.get("adapter")

    def of(every_token: bool):
        def function(low_rank, blocks):
            params = frozen["backbone"] | {"blocks": blocks}
            model = vit.nnx.merge(recognizer._definition, params)
            return model(pixels, low_rank, trained=True, return_blocks=every_token).feature

        return function

    return of(True), of(False), low_rank, frozen["backbone"]["blocks"]


def test_features_and_gradients_are_those_of_all_tokens():
    every, alone, low_rank, blocks = passes("lora", targets=("q", "k", "v", "proj", "fc1", "fc2"))

    def judged(function):
        return jax.jit(jax.value_and_grad(lambda *trained: jnp.sum(jnp.sin(function(*trained))), argnums=(0, 1)))

    (loss, gradients), (expected, wanted) = judged(alone)(low_rank, blocks), judged(every)(low_rank, blocks)
    assert loss == pytest.approx(float(expected), rel=1e-5)
    for found, right in zip(jax.tree.leaves(gradients), jax.tree.leaves(wanted), strict=True):
        scale = np.linalg.norm(right)
        assert np.linalg.norm(found - right) <= 1e-4 * scale + 1e-6
        assert scale > 0 or not np.any(found)


def test_a_fifth_of_a_shallow_model_is_saved():
    every, alone, *trained = passes("lora")
    before, after = (flops(jax.make_jaxpr(function)(*trained)) for function in (every, alone))
    spec, tokens = models.SPEC, models.SPEC.tokens(models.SIZE)
    of_a_token = 2 * spec.width * (spec.width + 2 * spec.mlp_width)  # after q, k and v
    assert before - after >= 4 * (tokens - 1) * of_a_token


def test_without_a_trained_stack_there_is_no_copy_of_it():
    recognizer, frozen, trainable = models.build(models.config("lora"))
    embed = jax.jit(lambda f, t, x: recognizer.embed(f, t, x).embedding)
    text = embed.lower(frozen, trainable, models.images()).as_text()
    depth, width = models.SPEC.depth, models.SPEC.width
    assert f"tensor<{depth - 1}x{width}x{3 * width}xf32>" not in text
    assert f"tensor<{depth}x{width}x{3 * width}xf32>" in text
    assert isinstance(recognizer, Recognizer)
