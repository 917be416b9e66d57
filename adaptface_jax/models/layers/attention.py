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

    def __call__(
        self, x: jax.Array, adaptation: Adaptation | None = None, attend: str = "whole", rows: int | None = None
    ) -> jax.Array:
        """attend: a name in `attend.ATTEND`. rows: the first tokens, for which alone a result is wanted; None: all."""
        batch, _, dim = x.shape
        fused = self.qkv(x, adaptation, "qkv")
        # By split, not by slices: its gradient is one concatenation, theirs the sum of three padded arrays.
        parts = dict(zip("qkv", jnp.split(fused, 3, axis=-1), strict=True))
        if adaptation is not None:
            for name, delta in adaptation.deltas(x, ("q", "k", "v")).items():
                parts[name] = parts[name] + delta
        parts["q"] = parts["q"][:, :rows]
        heads = (kept(parts[name]).reshape(batch, -1, self.heads, dim // self.heads) for name in "qkv")
        # A few rows of scores are nothing to any machine.
        y = ATTEND["whole" if rows else attend](*heads)
        return self.proj(y.reshape(batch, -1, dim), adaptation, "proj")
