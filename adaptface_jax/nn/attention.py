"""Multi-head self-attention with a fused qkv projection."""

from __future__ import annotations

import jax
from flax import nnx

from adaptface_jax.nn.layers import Dense
from adaptface_jax.nn.low_rank import Adaptation


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
        y = jax.nn.dot_product_attention(*(parts[name].reshape(shape) for name in "qkv"))
        return self.proj(y.reshape(batch, tokens, dim), adaptation, "proj")
