# SPDX-License-Identifier: Apache-2.0
"""Products that are stored with their rows apart are the same products."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.core import processors
from adaptface_jax.models.layers.product import competes, spread_product


@pytest.fixture(autouse=True)
def avx2(monkeypatch):
    monkeypatch.setattr(processors, "flags", lambda: frozenset({"avx2"}))


@pytest.mark.parametrize("width", [24, 1024, 1536])
def test_the_product_and_its_gradients_are_those_of_matmul(width):
    rng = np.random.default_rng(0)
    x, kernel, dy = (jnp.float32(rng.standard_normal(shape)) for shape in ((2, 5, 1280), (1280, width), (2, 5, width)))

    @jax.jit
    def results(x, kernel, dy):
        pairs = [jax.vjp(product, x, kernel) for product in (spread_product, jnp.matmul)]
        return [(y, *pull(dy)) for y, pull in pairs]

    found, expected = results(x, kernel, dy)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert jnp.linalg.norm(a - b) < 1e-6 * jnp.linalg.norm(b)


def test_only_wide_products_of_whole_kilobytes_are_spread():
    assert [width for width in (384, 768, 1024, 1152, 1536, 2304, 3072, 4100) if competes(width)] == [
        1024, 1536, 2304, 3072
    ]  # fmt: skip


def test_none_is_with_avx512(monkeypatch):
    monkeypatch.setattr(processors, "flags", lambda: frozenset({"avx2", "avx512f"}))
    assert not competes(1536)


def test_what_is_stored_is_wider_in_both_passes():
    def loss(x, kernel):
        return spread_product(x, kernel).sum()

    x, kernel = jnp.zeros((3, 1024)), jnp.zeros((1024, 1536))
    text = jax.jit(jax.value_and_grad(loss)).lower(x, kernel).as_text()
    assert "tensor<3x1544xf32>" in text  # of x @ kernel
    assert "tensor<3x1032xf32>" in text  # of dy @ kernel'
