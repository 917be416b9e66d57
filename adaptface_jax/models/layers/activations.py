"""Activation functions, and those of the classifiers by their names in the settings, as torch defines them."""

from __future__ import annotations

from collections.abc import Callable

import jax


def quick_gelu(x: jax.Array) -> jax.Array:
    """x * sigmoid(1.702 x), the activation of OpenAI's CLIP."""
    return x * jax.nn.sigmoid(1.702 * x)


def gelu(x: jax.Array) -> jax.Array:
    """The exact (erf) GELU; the tanh approximation differs by up to 5e-4."""
    return jax.nn.gelu(x, approximate=False)


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "leaky": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "gelu": gelu,
    "selu": jax.nn.selu,
}
