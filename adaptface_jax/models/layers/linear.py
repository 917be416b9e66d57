"""A dense layer as a plain pytree, for the small trainable parts outside the backbone (head, router)."""

from __future__ import annotations

import math

import jax

Linear = dict[str, jax.Array]  # {"kernel": [in, out], "bias": [out]}


def init_linear(key: jax.Array, din: int, dout: int) -> Linear:
    """Kernel and bias uniform in +-1/sqrt(in), float32, as torch.nn.Linear starts."""
    bound = 1 / math.sqrt(din)
    first, second = jax.random.split(key)
    return {
        "kernel": jax.random.uniform(first, (din, dout), minval=-bound, maxval=bound),
        "bias": jax.random.uniform(second, (dout,), minval=-bound, maxval=bound),
    }


def linear(params: Linear, x: jax.Array) -> jax.Array:
    """x @ kernel + bias in full float32, also where the hardware would round the factors."""
    return jax.numpy.matmul(x, params["kernel"], precision=jax.lax.Precision.HIGHEST) + params["bias"]
