# SPDX-License-Identifier: Apache-2.0
"""Kernels prove themselves on a device before they are used; a wrong one is found and named."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from adaptface_jax.core.errors import InputError
from adaptface_jax.models.kernels import attention, feed_forward, junction, proof
from tests import made_models as models

SIZES = (128, 2, 256)


@pytest.fixture(autouse=True)
def compared_again():
    proof.wrong.cache_clear()
    yield
    proof.wrong.cache_clear()


def test_the_kernels_are_right_where_they_are_interpreted():
    assert proof.wrong(*SIZES, interpret=True) == ""


def test_a_wrong_gradient_is_found(monkeypatch):
    right = junction._run_backward

    def wrong(*arguments):
        out = right(*arguments)
        return {**out, "d": out["d"].at[-1].multiply(0.5)}

    monkeypatch.setattr(junction, "_run_backward", wrong)
    assert "the kernel between two products differs" in proof.wrong(*SIZES, interpret=True)


def test_a_wrong_value_is_found(monkeypatch):
    right = attention._run_forward
    monkeypatch.setattr(attention, "_run_forward", lambda *a: (lambda y, s: (y.at[:, 0].set(jnp.nan), s))(*right(*a)))
    assert "the kernel of attention differs from its plain form by nan" in proof.wrong(*SIZES, interpret=True)


def test_a_kernel_that_does_not_compile_is_named(monkeypatch):
    def fails(*_):
        raise RuntimeError("out of shared memory")

    monkeypatch.setattr(feed_forward, "_through", fails)
    said = proof.wrong(*SIZES, interpret=True)
    assert said == "the kernel of the feed-forward gradient does not compile (RuntimeError)"


def test_then_a_model_takes_cudnn_and_says_why(monkeypatch):
    monkeypatch.setattr("adaptface_jax.models.recognizer.chosen", lambda *_: "fused")
    recognizer = models.build(models.config("lora"))[0]
    monkeypatch.setattr(proof, "wrong", lambda *_: "")
    assert recognizer.attend == recognizer.attention == "fused"
    monkeypatch.setattr(proof, "wrong", lambda *_: "the kernel of attention differs")
    assert recognizer.attend == "cudnn"
    assert recognizer.attention == "cudnn (not fused: the kernel of attention differs on this device)"
    asked = dataclasses.replace(recognizer, config=models.replace(recognizer.config, "backbone", attention="fused"))
    with pytest.raises(InputError, match="fused: the kernel of attention differs on this device; set it to auto"):
        _ = asked.attend


@pytest.mark.skipif(jax.default_backend() != "gpu", reason="no GPU")
@pytest.mark.parametrize("width", [384, 768, 1024])
def test_the_kernels_are_right_on_this_device(width):
    assert proof.wrong(width, width // 64, 4 * width) == ""


def test_it_works_while_a_step_is_traced():
    @jax.jit
    def traced(x):
        assert proof.wrong(*SIZES, interpret=True) == ""
        return x

    assert traced(1.0) == 1.0
