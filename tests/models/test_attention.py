# SPDX-License-Identifier: Apache-2.0
"""The attention implementations: equal in value and gradient, chosen by machine, lowered for others."""

from __future__ import annotations

import functools
import re
import types

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.cudnn import fused_attention_stablehlo as cudnn

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.augmentation.augment import preprocess
from adaptface_jax.models.layers.attend import attend_cudnn, attend_whole, chosen
from adaptface_jax.models.layers.attend_each import ABREAST, attend_each
from tests import made_models as models


def with_gradients(attend, dtype, batch=2, tokens=17, heads=2, head_dim=8, seed=0):
    """(y, dq, dk, dv) as float32, for synthetic q, k, v and dy."""
    rng = np.random.default_rng(seed)
    shape = (batch, tokens, heads, head_dim)
    q, k, v, dy = (jnp.asarray(rng.standard_normal(shape), dtype) for _ in range(4))

    @jax.jit
    def both(q, k, v, dy):
        y, pull = jax.vjp(attend, q, k, v)
        return (y, *pull(dy))

    return [np.asarray(x, np.float32) for x in both(q, k, v, dy)]


def farthest(found, expected):
    return max(np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(found, expected, strict=True))


on_xla = functools.partial(attend_cudnn, implementation="xla")


@pytest.mark.parametrize("attend", [attend_each, on_xla])
def test_every_way_is_the_written_out_one_in_float32(attend):
    assert farthest(with_gradients(attend, jnp.float32), with_gradients(attend_whole, jnp.float32)) < 1e-6


@hypothesis.settings(max_examples=3)
@hypothesis.given(tokens=st.integers(1, 24), heads=st.integers(1, 3), seed=st.integers(0, 9))
def test_padding_to_whole_eights_changes_nothing(tokens, heads, seed):
    sizes = {"tokens": tokens, "heads": heads, "seed": seed}
    found, expected = (with_gradients(attend, jnp.float32, **sizes) for attend in (on_xla, attend_whole))
    for a, b in zip(found, expected, strict=True):
        assert np.abs(a - b).max() < 1e-5


@pytest.mark.parametrize("attend", [attend_each, on_xla])
def test_in_bfloat16_they_agree_as_well_as_bfloat16_can(attend):
    found, expected = (with_gradients(a, jnp.bfloat16, tokens=257, head_dim=64) for a in (attend, attend_whole))
    exact = with_gradients(attend_whole, jnp.float32, tokens=257, head_dim=64)
    for a, b, reference in zip(found, expected, exact, strict=True):
        assert np.abs(a - b).mean() < 1e-3
        assert np.linalg.norm(a - reference) < 1.1 * np.linalg.norm(b - reference)


def test_a_recognizer_embeds_alike_with_one_image_at_a_time():
    def embedding(attention):
        settings = models.replace(models.config("lora"), "backbone", attention=attention)
        recognizer, frozen, trainable = models.build(settings)
        return jax.jit(recognizer.embed)(frozen, trainable, models.images()).embedding

    assert models.relative(embedding("each"), embedding("whole")) < 1e-6


def of_step(attention, platform, dtype=jnp.bfloat16, unroll=1):
    """The text of a gradient of a recognizer, lowered for another platform."""

    class Asked(models.Recognizer):
        attend = attention

    recognizer = Asked(models.SPEC, models.replace(models.config("lora"), "train", unroll=unroll), dtype)
    frozen, trainable = jax.eval_shape(
        lambda: recognizer.init(models.vit.random_params(recognizer.built_spec, models.SIZE, 0), 10)
    )

    def loss(trainable, frozen, images):
        images = preprocess(images, models.SIZE, models.SPEC.stats, dtype)
        return recognizer.embed(frozen, trainable, images, jax.random.key(0)).embedding.sum()

    images = jax.ShapeDtypeStruct((4, 20, 20, 3), jnp.uint8)
    traced = jax.jit(jax.grad(loss)).trace(trainable, frozen, images)
    return traced.lower(lowering_platforms=(platform,)).as_text()


def test_for_cuda_each_block_calls_cudnn_once_forward_and_once_backward(monkeypatch):
    monkeypatch.setattr(cudnn, "check_cudnn_version", lambda: 91000)
    text = of_step("cudnn", "cuda")
    assert len(re.findall(r"custom_call @__cudnn\$fmhaSoftmax\(", text)) == 1
    assert len(re.findall(r"custom_call @__cudnn\$fmhaSoftmaxBackward\(", text)) == 1


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_the_step_lowers_for_accelerators(platform):
    assert "stablehlo.while" in of_step("whole", platform)


def test_the_forward_pass_of_an_image_is_not_computed_again_in_the_backward_pass():
    text = of_step("each", "cpu", jnp.float32)
    # The sums of exponentials, which only the forward pass computes, for each image processed in parallel.
    assert text.count("stablehlo.log ") == ABREAST


def test_a_step_on_one_cpu_has_no_loop_over_the_blocks():
    # Which would collect each block's hidden layer in an array of them all: the last block computes one token alone.
    stack = f"tensor<{models.SPEC.depth - 1}x4x{models.SPEC.tokens(models.SIZE)}x{models.SPEC.mlp_width}xf32>"

    def collected(unroll):
        lines = of_step("each", "cpu", jnp.float32, unroll).splitlines()
        return sum("dynamic_update_slice" in line and stack in line for line in lines)

    assert (collected(0), collected(1)) == (0, 1)


@pytest.mark.parametrize("images", [1, 2, 3])
def test_a_pass_by_itself_goes_over_two_groups_of_images_where_there_are_two(images):
    recognizer, frozen, trainable = models.build(models.replace(models.config("dalora"), "backbone", attention="each"))
    some = models.images()[:images]
    embed = jax.jit(recognizer.embed)
    # The feed-forward layers of the scanned blocks, once for each group.
    products = embed.lower(frozen, trainable, some).as_text().count(f"x{models.SPEC.mlp_width}xf32>) -> tensor<")
    assert products > 0
    alone = jnp.concatenate([embed(frozen, trainable, some[i : i + 1]).embedding for i in range(images)])
    assert models.relative(embed(frozen, trainable, some).embedding, alone) < 1e-6


def device(platform, capability="9.0", version="PJRT C API cuda 12090"):
    client = types.SimpleNamespace(platform_version=version)
    return types.SimpleNamespace(
        platform=platform, compute_capability=capability, client=client, device_kind="a made device"
    )


@pytest.mark.parametrize(
    ("machine", "count", "head_dim", "dtype", "expected"),
    [
        (device("cpu"), 1, 64, jnp.float32, "each"),
        (device("cpu"), 8, 64, jnp.float32, "whole"),
        (device("gpu", "9.0"), 1, 64, jnp.bfloat16, "fused"),
        (device("gpu", "8.0"), 1, 64, jnp.bfloat16, "cudnn"),
        (device("gpu"), 1, 96, jnp.bfloat16, "cudnn"),
        (device("gpu"), 8, 64, jnp.bfloat16, "fused"),
        (device("gpu"), 8, 128, jnp.bfloat16, "cudnn"),
        (device("gpu", "7.5"), 1, 64, jnp.bfloat16, "whole"),
        (device("gpu"), 1, 64, jnp.float32, "whole"),
        (device("gpu"), 1, 256, jnp.bfloat16, "whole"),
        (device("gpu"), 1, 12, jnp.bfloat16, "whole"),
        (device("gpu", "gfx90a", "rocm 60000"), 1, 64, jnp.bfloat16, "whole"),
        (device("tpu"), 8, 64, jnp.bfloat16, "whole"),
    ],
)
def test_auto_takes_what_the_machine_can(monkeypatch, machine, count, head_dim, dtype, expected):
    monkeypatch.setattr(jax, "devices", lambda: [machine] * count)
    monkeypatch.setattr(jax, "device_count", lambda: count)
    assert chosen("auto", head_dim, dtype) == expected
    if machine.platform == "gpu" and expected == "whole":
        with pytest.raises(InputError, match=r"backbone\.attention: cudnn is not available here"):
            chosen("cudnn", head_dim, dtype)
