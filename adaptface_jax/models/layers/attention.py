"""Multi-head self-attention with a fused qkv projection."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx

from adaptface_jax.models.layers.dense import Dense
from adaptface_jax.models.layers.low_rank import Adaptation
from adaptface_jax.models.layers.remat import kept


class Attention(nnx.Module):
    """Adapter targets: `qkv` (fused), `q`, `k`, `v`, and `proj` (the output projection)."""

    def __init__(self, dim: int, heads: int, *, rngs: nnx.Rngs):
        self.qkv = Dense(dim, 3 * dim, rngs=rngs)
        self.proj = Dense(dim, dim, rngs=rngs)
        self.heads = heads

    def __call__(self, x: jax.Array, adaptation: Adaptation | None = None) -> jax.Array:
        batch, tokens, dim = x.shape
        fused = self.qkv(x, adaptation, "qkv")
        parts = dict(zip("qkv", (fused[..., i * dim : (i + 1) * dim] for i in range(3)), strict=True))
        if adaptation is not None:
            for name, delta in adaptation.deltas(x, ("q", "k", "v")).items():
                parts[name] = parts[name] + delta
        shape = (batch, tokens, self.heads, dim // self.heads)
        y = attend(*(kept(parts[name]).reshape(shape).swapaxes(1, 2) for name in "qkv"))
        return self.proj(kept(y.swapaxes(1, 2).reshape(batch, tokens, dim)), adaptation, "proj")


def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """softmax(q k' / sqrt(d)) v of [B, heads, T, d]; scores and softmax in float32.

    Heads before tokens, or the backward pass transposes every score matrix.
    """
    # Written as products over (batch, heads): what other programs are handed has no einsum then.
    over_features = (((3,), (3,)), ((0, 1), (0, 1)))
    scores = jax.lax.dot_general(q, k, over_features, preferred_element_type=jnp.float32) / math.sqrt(q.shape[-1])
    return jax.nn.softmax(scores, axis=-1).astype(v.dtype) @ v
