"""Multi-head self-attention with a fused qkv projection."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from adaptface_jax.models.layers.attend import ATTEND
from adaptface_jax.models.layers.dense import Dense
from adaptface_jax.models.layers.low_rank import Adaptation
from adaptface_jax.models.layers.remat import kept


class Attention(nnx.Module):
    """Adapter targets: `qkv` (fused), `q`, `k`, `v`, and `proj` (the output projection)."""

    def __init__(self, dim: int, heads: int, *, rngs: nnx.Rngs):
        self.qkv = Dense(dim, 3 * dim, rngs=rngs)
        self.proj = Dense(dim, dim, rngs=rngs)
        self.heads = heads

    def __call__(self, x: jax.Array, adaptation: Adaptation | None = None, attend: str = "whole") -> jax.Array:
        """attend: a name in `attend.ATTEND`."""
        batch, tokens, dim = x.shape
        fused = self.qkv(x, adaptation, "qkv")
        # By split, not by slices: its gradient is one concatenation, theirs the sum of three padded arrays.
        parts = dict(zip("qkv", jnp.split(fused, 3, axis=-1), strict=True))
        if adaptation is not None:
            for name, delta in adaptation.deltas(x, ("q", "k", "v")).items():
                parts[name] = parts[name] + delta
        shape = (batch, tokens, self.heads, dim // self.heads)
        y = ATTEND[attend](*(kept(parts[name]).reshape(shape) for name in "qkv"))
        return self.proj(y.reshape(batch, tokens, dim), adaptation, "proj")
