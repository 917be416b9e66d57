# SPDX-License-Identifier: Apache-2.0
"""Multi-head self-attention with a fused qkv projection."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from adaptface_jax.models.layers.attend import ATTEND, attend_whole
from adaptface_jax.models.layers.dense import Dense
from adaptface_jax.models.layers.low_rank import Adaptation
from adaptface_jax.models.layers.remat import kept
from adaptface_jax.models.layers.rotary import Rotation


class Attention(nnx.Module):
    """Adapter targets: `qkv` (fused), `q`, `k`, `v`, and `proj` (the output projection).

    bias: which of queries, keys and values have one. Rotary keys have none.
    """

    def __init__(self, dim: int, heads: int, bias: Literal["qkv", "qv", ""] = "qkv", *, rngs: nnx.Rngs):
        self.qkv = Dense(dim, 3 * dim, use_bias=bias == "qkv", rngs=rngs)
        self.qv = Shift(2 * dim) if bias == "qv" else None
        self.proj = Dense(dim, dim, rngs=rngs)
        self.heads = heads

    def __call__(
        self,
        x: jax.Array,
        adaptation: Adaptation | None = None,
        attend: str = "whole",
        rotation: Rotation | None = None,
        rows: int | None = None,
    ) -> jax.Array:
        """attend: a name in `attend.ATTEND`. rotation: of queries and keys, by their positions.

        rows: the number of first tokens to compute, [B, rows, D]; None: all.
        """
        batch, tokens, dim = x.shape
        cpu = attend == "each"
        fused = self.qkv(x, adaptation, "qkv", cpu)
        # By split, not by slices: its gradient is one concatenation, that of slices the sum of three padded arrays.
        parts = dict(zip("qkv", jnp.split(fused, 3, axis=-1), strict=True))
        if self.qv is not None:
            for name, shift in zip("qv", jnp.split(self.qv.bias[...].astype(x.dtype), 2), strict=True):
                parts[name] = parts[name] + shift
        if adaptation is not None:
            for name, delta in adaptation.deltas(x, ("q", "k", "v"), cpu).items():
                parts[name] = (parts[name] + delta).astype(x.dtype)
        shape = (batch, tokens, self.heads, dim // self.heads)
        q, k, v = (kept(parts[name]).reshape(shape) for name in "qkv")
        if rotation is not None:
            q, k = rotation(q), rotation(k)
        # A few rows of scores are cheap on any machine.
        y = attend_whole(q[:, :rows], k, v) if rows else ATTEND[attend](q, k, v)
        return self.proj(y.reshape(batch, -1, dim), adaptation, "proj", cpu)


class Shift(nnx.Module):
    """A bias without a kernel."""

    def __init__(self, dim: int):
        self.bias = nnx.Param(jnp.zeros((dim,)))
