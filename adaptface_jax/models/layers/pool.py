"""Pooling all tokens into one feature, for models without a class token."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from adaptface_jax.models.layers.attend import attend_whole
from adaptface_jax.models.layers.dense import Dense
from adaptface_jax.models.layers.mlp import Mlp
from adaptface_jax.models.layers.norm import LayerNorm


class ProbePool(nnx.Module):
    """A learned probe attends to the tokens [B, T, D], then x + MLP: [B, D].

    Source: SigLIP (arXiv 2303.15343), after Set Transformers (arXiv 1810.00825).
    """

    def __init__(self, dim: int, heads: int, hidden: int, activation: str, eps: float, *, rngs: nnx.Rngs):
        self.probe = nnx.Param(0.02 * jax.random.normal(rngs.params(), (1, 1, dim)))
        self.qkv = Dense(dim, 3 * dim, rngs=rngs)
        self.proj = Dense(dim, dim, rngs=rngs)
        self.norm = LayerNorm(dim, eps)
        self.mlp = Mlp(dim, hidden, activation=activation, gated=False, rngs=rngs)
        self.heads = heads

    def __call__(self, x: jax.Array) -> jax.Array:
        batch, _, dim = x.shape
        assert self.qkv.bias is not None
        kernel, bias = self.qkv.kernel[...].astype(x.dtype), self.qkv.bias[...].astype(x.dtype)
        query = jnp.matmul(self.probe[...].astype(x.dtype), kernel[:, :dim]) + bias[:dim]
        key, value = jnp.split(jnp.matmul(x, kernel[:, dim:]) + bias[dim:], 2, axis=-1)
        query = jnp.broadcast_to(query, (batch, 1, dim))
        per_head = self.heads, dim // self.heads
        query, key, value = (part.reshape(batch, part.shape[1], *per_head) for part in (query, key, value))
        y = self.proj(attend_whole(query, key, value).reshape(batch, 1, dim))
        return (y + self.mlp(self.norm(y)))[:, 0]


class FlatPool(nnx.Module):
    """All tokens concatenated [B, T, D] -> Linear, norm, Linear, norm: the embedding [B, out].

    Source: the head of InsightFace's ViT (arcface_torch), whose norms are BatchNorms at inference.
    """

    def __init__(self, tokens: int, dim: int, out: int, *, rngs: nnx.Rngs):
        self.fc1 = Dense(tokens * dim, dim, use_bias=False, rngs=rngs)
        self.norm1 = RunningNorm(dim)
        self.fc2 = Dense(dim, out, use_bias=False, rngs=rngs)
        self.norm2 = RunningNorm(out)

    def __call__(self, x: jax.Array) -> jax.Array:
        batch, tokens, dim = x.shape
        return self.norm2(self.fc2(self.norm1(self.fc1(x.reshape(batch, tokens * dim)))))


class RunningNorm(nnx.Module):
    """A BatchNorm at inference: its running moments are weights like others, but are never trained."""

    EPS = 2e-5

    def __init__(self, dim: int):
        self.scale = nnx.Param(jnp.ones((dim,)))
        self.bias = nnx.Param(jnp.zeros((dim,)))
        self.mean = nnx.Param(jnp.zeros((dim,)))
        self.var = nnx.Param(jnp.ones((dim,)))

    def __call__(self, x: jax.Array) -> jax.Array:
        mean, var = (jax.lax.stop_gradient(moment[...].astype(jnp.float32)) for moment in (self.mean, self.var))
        y = (x.astype(jnp.float32) - mean) * jax.lax.rsqrt(var + self.EPS)
        y = y * self.scale[...].astype(jnp.float32) + self.bias[...].astype(jnp.float32)
        return y.astype(x.dtype)
