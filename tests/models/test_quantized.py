"""8-bit kernels: how far they and their results are from the exact ones."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from adaptface_jax.core import trees
from adaptface_jax.models.quantized import dequantize, quantize
from adaptface_jax.models.recognizer import count_parameters
from tests import made_models as models

KERNELS = arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 4)),
    elements=st.floats(-1e3, 1e3, width=32, allow_subnormal=False),
)


@given(KERNELS)
def test_a_weight_is_off_by_half_a_step_at_most_and_the_largest_hardly(kernel):
    levels, scale = quantize(kernel)
    assert (levels.dtype, scale.dtype) == (np.int8, np.float32) and levels.shape == kernel.shape
    largest = np.abs(kernel).max(axis=1)
    np.testing.assert_allclose(scale, largest / 127, rtol=1e-6)
    error = np.abs(dequantize(levels, scale, np.float32) - kernel)
    assert (error <= scale[:, None] * 0.5001).all()
    mirrored, same = quantize(-kernel)
    assert np.array_equal(mirrored, -levels) and np.array_equal(same, scale)


def test_host_and_device_round_alike():
    kernel = np.random.default_rng(0).standard_normal((2, 32, 24), np.float32)
    (levels, scale), (on_device, scale_there) = quantize(kernel), quantize(jnp.asarray(kernel))
    np.testing.assert_allclose(scale_there, scale, rtol=1e-6)
    np.testing.assert_array_equal(on_device, levels)


def test_a_channel_of_zeros_stays_zero():
    levels, scale = quantize(np.zeros((4, 2), np.float32))
    assert not levels.any() and not scale.any()
    assert not dequantize(levels, scale, jnp.bfloat16).any()


@pytest.fixture(scope="module")
def pair():
    """The same recognizer with exact kernels and with those of 8 bits."""
    exact = models.config("lora")
    return models.build(exact), models.build(models.replace(exact, "backbone", quantize="int8"))


def test_the_kernels_of_the_blocks_alone_are_stored_so(pair):
    (exact, frozen, trainable), (rounded, stored, trained) = pair
    kinds = {path: leaf.dtype for path, leaf in trees.flatten(stored).items()}
    in_8_bits = {path for path, kind in kinds.items() if kind == np.int8}
    assert in_8_bits == {path for path in kinds if "/blocks/" in path and path.endswith("/kernel")}
    assert len(in_8_bits) == 4 and {path.removesuffix("_scale") for path in kinds} == set(trees.flatten(frozen))
    assert count_parameters(rounded, stored, trained) == count_parameters(exact, frozen, trainable)
    jax.tree.map(np.testing.assert_array_equal, trained, trainable)


def test_features_and_the_adapters_gradient_are_near_the_exact_ones(pair):
    (exact, frozen, trainable), (rounded, stored, _) = pair
    trainable, pictures = models.made(trainable, seed=3), models.images(8)

    def measured(recognizer, tree):
        def total(trainable):
            out = recognizer.embed(tree, trainable, pictures)
            return jnp.sum(jnp.sin(out.embedding)), out.feature

        gradient, feature = jax.jit(jax.grad(total, has_aux=True))(trainable)
        return np.asarray(feature), gradient["adapter"]

    (feature, gradient), (near, approximate) = measured(exact, frozen), measured(rounded, stored)
    error = np.linalg.norm(near - feature, axis=1) / np.linalg.norm(feature, axis=1)
    assert 1e-4 < error.max() < 0.02
    for found, expected in zip(jax.tree.leaves(approximate), jax.tree.leaves(gradient), strict=True):
        assert np.linalg.norm(found - expected) < 0.05 * np.linalg.norm(expected)
