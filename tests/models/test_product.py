# SPDX-License-Identifier: Apache-2.0
"""Products in the forms that a CPU computes quickly are the same products, and left to its library as they are."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.models.layers.attend_each import attend_each
from adaptface_jax.models.layers.low_rank import Adaptation
from adaptface_jax.models.layers.product import product, stored, turned
from tests.made_processors import FLAGS, pretend


@pytest.fixture
def on(monkeypatch):
    return lambda name: pretend(name, monkeypatch)


def drawn(*shapes, dtype=np.float32):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.standard_normal(shape), dtype) for shape in shapes]


@pytest.mark.parametrize("processor", FLAGS)
@pytest.mark.parametrize("width", [3, 24, 1024, 1536])
def test_the_product_and_its_gradients_are_those_of_matmul(width, processor, on):
    on(processor)
    x, kernel, dy = drawn((2, 5, 1280), (1280, width), (2, 5, width))

    @jax.jit
    def results(x, kernel, dy):
        pairs = [jax.vjp(multiply, x, kernel) for multiply in (product, jnp.matmul)]
        return [(y, *pull(dy)) for y, pull in pairs]

    found, expected = results(x, kernel, dy)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert jnp.linalg.norm(a - b) < 1e-6 * jnp.linalg.norm(b)


@pytest.mark.parametrize("width", [3, 24, 64, 200])
def test_of_bfloat16_it_is_exact_to_float32_and_its_gradients_are_rounded_once(width, on):
    on("avx512_bf16")
    x, kernel, dy = drawn((2, 5, 96), (96, width), (2, 5, width), dtype=jnp.bfloat16)
    y, pull = jax.vjp(product, x, kernel)
    found = (y, *pull(dy.astype(jnp.float32)))
    whole = [np.float64(array) for array in (x, kernel, dy)]
    rows = [array.reshape(-1, array.shape[-1]) for array in (whole[0], whole[2])]
    expected = whole[0] @ whole[1], whole[2] @ whole[1].T, rows[0].T @ rows[1]
    assert [array.dtype for array in found] == [jnp.float32, jnp.bfloat16, jnp.bfloat16]
    for a, b, one in zip(found, expected, (1e-6, 2**-8, 2**-8), strict=True):
        assert np.abs(np.float64(a) - b).max() <= one * np.abs(b).max()


def test_in_forward_passes_every_image_may_have_its_own_kernel(on):
    on("avx512_bf16")
    x, kernels = drawn((3, 5, 96), (3, 96, 24))
    np.testing.assert_allclose(product(x, kernels), x @ kernels, rtol=1e-6, atol=1e-5)


def test_only_wide_products_of_whole_kilobytes_are_spread(on):
    on("avx2")
    widths = (384, 768, 1024, 1152, 1536, 2304, 3072, 4100)
    assert [width for width in widths if stored(width, jnp.float32) != width] == [1024, 1536, 2304, 3072]
    assert stored(1536, jnp.float32) == 1544
    on("avx512")
    assert stored(1536, jnp.float32) == 1536


def test_a_few_columns_of_bfloat16_fill_a_tile_where_the_processor_multiplies_them(on):
    on("avx512_bf16")
    assert [stored(width, jnp.bfloat16) for width in (1, 8, 16, 24, 48, 64, 65, 384, 1536)] == [
        16, 16, 16, 32, 64, 64, 65, 384, 1536
    ]  # fmt: skip
    assert stored(24, jnp.float32) == 24
    on("avx512")
    assert stored(24, jnp.bfloat16) == 24


def test_what_is_stored_is_wider_in_both_passes(on):
    on("avx2")

    def loss(x, kernel):
        return product(x, kernel).sum()

    x, kernel = jnp.zeros((3, 1024)), jnp.zeros((1024, 1536))
    text = jax.jit(jax.value_and_grad(loss)).lower(x, kernel).as_text()
    assert "tensor<3x1544xf32>" in text  # of x @ kernel
    assert "tensor<3x1032xf32>" in text  # of dy @ kernel'


def test_turned_is_a_transpose():
    (x,) = drawn((2, 3, 4))
    np.testing.assert_array_equal(turned(x, 2, 0, 1), x.transpose(2, 0, 1))


def factors(compiled):
    """The dtypes of the factors of each product in a compiled program, and how many are the library's."""
    text = compiled.as_text()
    found, left = [], 0
    for computation in re.split(r"\n(?=(?:ENTRY )?%[\w.\-]+ \()", text):
        types = dict(re.findall(r"%([\w.\-]+) = (\w+)\[", computation))
        for first, second in re.findall(r" dot\(%([\w.\-]+), %([\w.\-]+)\)", computation):
            found.append({types[first], types[second]})
            left += computation.startswith("%fused")
    return found, left


def left_to_library(function, *arguments):
    options = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}
    return factors(jax.jit(function, compiler_options=options).lower(*arguments).compile())


def through(function):
    """Its results and gradients."""

    def both(dy, *arguments):
        y, pull = jax.vjp(function, *arguments)
        return y, pull(dy)

    return both


def test_those_of_attention_and_of_adapters_are_left_to_the_library_unwidened(on):
    on("avx512_bf16")
    bfloat16 = jnp.bfloat16
    q, k, v = drawn(*[(2, 40, 2, 64)] * 3, dtype=bfloat16)
    found, left = left_to_library(through(attend_each), q, q, k, v)
    # Of two images side by side: forward 2, backward 5, with the scores once more.
    assert (found, left) == ([{"bf16"}] * 14, 14)

    x, dy, a, b = drawn((2, 200, 64), (2, 200, 96), (64, 24), (24, 96), dtype=bfloat16)

    def adapted(x, a, b, gate):
        found = Adaptation({"proj": {"a": a, "b": b}}, gate, scale=2.0).deltas(x, ["proj"], cpu=True)["proj"]
        return found.astype(bfloat16)

    gate = jnp.ones((2, 24))
    found, left = left_to_library(through(adapted), dy, x, a, b, gate)
    assert (found, left) == ([{"bf16"}] * 6, 6)
