# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.models.kernels.slopes import NAMES, with_slope
from adaptface_jax.models.layers.mlp import ACTIVATIONS


@pytest.mark.parametrize("name", NAMES)
def test_values_and_derivatives_are_those_of_the_plain_form(name):
    with jax.enable_x64(True):
        x = jnp.concatenate([jnp.linspace(-12, 12, 40001), jnp.asarray([-1e4, -60.0, -0.0, 60.0, 1e4])])
        plain = {
            "gelu": lambda x: x * jax.scipy.stats.norm.cdf(x),
            "quick_gelu": ACTIVATIONS["quick_gelu"],
            "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
        }[name]
        expected = np.asarray(plain(x)), np.asarray(jax.vmap(jax.grad(plain))(x))
        value, slope = with_slope(name, x.astype(jnp.float32), ptx=False)
        # x is rounded to float32; the derivatives of the sigmoid forms hold x s (1 - s), where 1 - s cancels
        np.testing.assert_allclose(value, expected[0], rtol=2e-7, atol=2e-7)
        np.testing.assert_allclose(slope, expected[1], rtol=3e-7, atol=5e-7 if name == "gelu" else 5e-6)


def test_small_values_of_gelu_do_not_cancel():
    with jax.enable_x64(True):
        x = jnp.linspace(-5, -3, 1001, dtype=jnp.float32)
        expected = x * jax.scipy.stats.norm.cdf(x.astype(jnp.float64))
        value, _ = with_slope("gelu", x, ptx=False)
        np.testing.assert_allclose(value, expected, rtol=5e-3)
