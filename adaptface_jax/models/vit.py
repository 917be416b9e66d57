"""One vision transformer for DINOv2 and CLIP, scanned over its depth.

The parameters of all blocks are stacked on a leading depth axis, so a tree looks like

    patch_embed/kernel [p * p * 3, D]      patch_embed/bias [D]          (no bias in CLIP)
    cls_token [1, 1, D]                    register_tokens [1, R, D]     (where there are registers)
    pos_embed [1, 1 + grid * grid, D]      pre_norm/{scale, bias} [D]    (CLIP)
    blocks/norm1/{scale, bias} [L, D]      blocks/attn/qkv/{kernel [L, D, 3D], bias [L, 3D]}
    blocks/attn/proj/...                   blocks/scale1/gamma [L, D]    (DINOv2)
    blocks/norm2/...                       blocks/mlp/{fc1, fc2}/...     blocks/scale2/gamma
    norm/{scale, bias} [D]                 projection/kernel [D, out]    (CLIP)

Sources: DINOv2 (arXiv 2304.07193), registers (arXiv 2309.16588), CLIP (arXiv 2103.00020).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from adaptface_jax.models.layers.attention import Attention
from adaptface_jax.models.layers.dense import Dense
from adaptface_jax.models.layers.low_rank import Adaptation
from adaptface_jax.models.layers.mlp import Mlp
from adaptface_jax.models.layers.norm import LayerNorm, LayerScale, standardize
from adaptface_jax.models.layers.remat import KEEP_MARKED, kept
from adaptface_jax.models.specs import BackboneSpec


class Block(nnx.Module):
    """x + attention, x + MLP, each behind a LayerNorm and, in DINOv2, a LayerScale."""

    def __init__(self, spec: BackboneSpec, *, rngs: nnx.Rngs):
        self.norm1 = LayerNorm(spec.width, spec.norm_eps)
        self.attn = Attention(spec.width, spec.heads, rngs=rngs)
        self.norm2 = LayerNorm(spec.width, spec.norm_eps)
        self.mlp = Mlp(spec.width, spec.mlp_width, activation=spec.activation, gated=spec.mlp == "swiglu", rngs=rngs)
        self.scale1 = LayerScale(spec.width) if spec.layer_scale else None
        self.scale2 = LayerScale(spec.width) if spec.layer_scale else None

    def __call__(self, x: jax.Array, adaptation: Adaptation | None = None, attend: str = "whole") -> jax.Array:
        branch = self.attn(self.norm1(x), adaptation, attend)
        x = kept(x + (branch if self.scale1 is None else self.scale1(branch)))
        branch = self.mlp(self.norm2(x), adaptation)
        return x + (branch if self.scale2 is None else self.scale2(branch))


@dataclasses.dataclass(frozen=True)
class Router:
    """Chooses the gates inside the backbone, after the first `block` blocks.

    gates: function of [B, D] (mean token through a parameter-free LayerNorm, float32) giving [B, R].
    """

    block: int
    gates: Callable[[jax.Array], jax.Array]


class Features(NamedTuple):
    """feature [B, d]; gate [B, R] float32 or None; blocks [L, B, T, D], each block's output, when asked for."""

    feature: jax.Array
    gate: jax.Array | None
    blocks: jax.Array | None


class ViT(nnx.Module):
    """Images [B, S, S, 3], normalised, in the compute dtype -> Features."""

    def __init__(self, spec: BackboneSpec, image_size: int, *, rngs: nnx.Rngs):
        grid, patch = image_size // spec.patch_size, spec.patch_size
        self.patch_embed = Dense(patch * patch * 3, spec.width, use_bias=spec.patch_bias, rngs=rngs)
        self.cls_token = nnx.Param(0.02 * jax.random.normal(rngs.params(), (1, 1, spec.width)))
        self.pos_embed = nnx.Param(0.02 * jax.random.normal(rngs.params(), (1, 1 + grid * grid, spec.width)))
        self.register_tokens = (
            nnx.Param(0.02 * jax.random.normal(rngs.params(), (1, spec.registers, spec.width)))
            if spec.registers
            else None
        )
        self.pre_norm = LayerNorm(spec.width, spec.norm_eps) if spec.pre_norm else None

        @nnx.vmap(in_axes=0, out_axes=0)
        def stacked(key: jax.Array) -> Block:
            return Block(spec, rngs=nnx.Rngs(params=key))

        self.blocks = stacked(jax.random.split(rngs.params(), spec.depth))
        self.norm = LayerNorm(spec.width, spec.norm_eps)
        self.projection = Dense(spec.width, spec.projection, use_bias=False, rngs=rngs) if spec.projection else None
        self.spec = spec

    def tokens(self, images: jax.Array) -> jax.Array:
        """Patches, class token, positions and registers: [B, S, S, 3] -> [B, T, D]."""
        batch, size, _, channels = images.shape
        patch = self.spec.patch_size
        grid = size // patch
        cut = images.reshape(batch, grid, patch, grid, patch, channels).transpose(0, 1, 3, 2, 4, 5)
        x = self.patch_embed(cut.reshape(batch, grid * grid, patch * patch * channels))
        cls = jnp.broadcast_to(self.cls_token[...].astype(x.dtype), (batch, 1, x.shape[-1]))
        x = jnp.concatenate([cls, x], axis=1) + self.pos_embed[...].astype(x.dtype)
        if self.register_tokens is not None:  # after CLS, and without a position
            registers = jnp.broadcast_to(
                self.register_tokens[...].astype(x.dtype), (batch, self.spec.registers, x.shape[-1])
            )
            x = jnp.concatenate([x[:, :1], registers, x[:, 1:]], axis=1)
        return x if self.pre_norm is None else self.pre_norm(x)

    def __call__(
        self,
        images: jax.Array,
        adapters: Mapping[str, Any] | None = None,
        *,
        gate: jax.Array | None = None,
        router: Router | None = None,
        key: jax.Array | None = None,
        scale: float = 1.0,
        dropout: float = 0.0,
        projected: bool = False,
        remat: bool = False,
        unroll: int = 1,
        attend: str = "whole",
        return_blocks: bool = False,
        which: jax.Array | None = None,
    ) -> Features:
        """adapters: target -> {"a": [L, in, R], "b": [L, R, out]}. gate: float32 [B, R], of each rank.

        With `router`, `gate` is what the blocks before it use. `key` switches adapter dropout on. unroll: blocks in
        each turn of the loop over the depth; 0: no loop and no branch at all, for graphs that other programs run.
        attend: a name in `layers.attend.ATTEND`. which: int32 [B], of M adapters the one of each image, where factors
        are [L, M, in, R] and [L, M, R, out].
        """
        definition, state = nnx.split(self.blocks)

        def body(i: jax.Array | int, carry: Any, layer: Any) -> Any:
            x, gate = carry
            block_state, low_rank = layer
            if router is not None:
                gate = _choose(
                    i == router.block,
                    lambda: router.gates(standardize(jnp.mean(x.astype(jnp.float32), axis=1), 1e-6)),
                    lambda: gate,
                )
            adaptation = None
            if low_rank is not None:
                if which is not None:
                    low_rank = jax.tree.map(lambda leaf: leaf[which], low_rank)
                block_key = None if key is None else jax.random.fold_in(key, i)
                adaptation = Adaptation(low_rank, gate, block_key, scale, dropout)
            x = nnx.merge(definition, block_state)(x, adaptation, attend)
            return (x, gate), (x if return_blocks else None)

        carry, layers = (self.tokens(images), gate), (state, adapters)
        if unroll == 0:
            outputs = []
            for i in range(self.spec.depth):
                carry, output = body(i, carry, jax.tree.map(lambda leaf, i=i: leaf[i], layers))
                outputs.append(output)
            (x, gate), blocks = carry, jnp.stack(outputs) if return_blocks else None
        else:
            # Inside a loop nothing is shared between the two passes, so common subexpressions cannot undo this.
            looped = jax.checkpoint(
                lambda carry, layer: body(layer[0], carry, layer[1]),
                policy=None if remat else KEEP_MARKED,
                prevent_cse=unroll >= self.spec.depth,
            )
            (x, gate), blocks = jax.lax.scan(looped, carry, (jnp.arange(self.spec.depth), layers), unroll=unroll)
        feature = self.norm(x[:, 0])
        if projected and self.projection is not None:
            feature = self.projection(feature)
        return Features(feature, gate, blocks)


def _choose(condition: jax.Array | bool, yes: Callable[[], jax.Array], no: Callable[[], jax.Array | None]) -> Any:
    """`lax.cond`, without a branch where it is known which."""
    if isinstance(condition, bool):
        return yes() if condition else no()
    return jax.lax.cond(condition, yes, no)


def definition(spec: BackboneSpec, image_size: int) -> tuple[nnx.GraphDef, dict[str, Any]]:
    """The module's graph and its parameters as ShapeDtypeStructs, nothing allocated."""
    graph, state = nnx.split(nnx.eval_shape(lambda: ViT(spec, image_size, rngs=nnx.Rngs(0))))
    return graph, nnx.to_pure_dict(state)


def random_params(spec: BackboneSpec, image_size: int, seed: int) -> dict[str, Any]:
    """Freshly initialised float32 parameters of the backbone."""
    return nnx.to_pure_dict(nnx.state(ViT(spec, image_size, rngs=nnx.Rngs(seed))))
