# SPDX-License-Identifier: Apache-2.0
"""One vision transformer for all families of backbones, scanned over its depth.

The parameters of all blocks are stacked on a leading depth axis, so a tree looks like

    patch_embed/kernel [p * p * 3, D]      patch_embed/bias [D]          (no bias in CLIP)
    cls_token [1, 1, D]                    register_tokens [1, R, D]     (if there are any)
    pos_embed [1, 1 + grid * grid, D]      pre_norm/{scale, bias} [D]    (no positions in DINOv3; norm: CLIP)
    blocks/norm1/{scale, bias} [L, D]      blocks/attn/qkv/{kernel [L, D, 3D], bias [L, 3D]}
    blocks/attn/proj/...                   blocks/scale1/gamma [L, D]    (DINOv2, DINOv3)
    blocks/norm2/...                       blocks/mlp/{fc1, fc2}/...     blocks/scale2/gamma
    norm/{scale, bias} [D]                 projection/kernel [D, out]    (CLIP)
    pool/...                               (`layers.pool`: SigLIP and face models)

Sources: DINOv2 (arXiv 2304.07193), registers (arXiv 2309.16588), CLIP (arXiv 2103.00020), DINOv3 (arXiv 2508.10104),
SigLIP (arXiv 2303.15343).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from adaptface_jax.models.layers.attend import FUSED
from adaptface_jax.models.layers.attention import Attention
from adaptface_jax.models.layers.dense import Dense
from adaptface_jax.models.layers.low_rank import Adaptation, Gates
from adaptface_jax.models.layers.mlp import Mlp
from adaptface_jax.models.layers.norm import LayerNorm, LayerScale, standardize
from adaptface_jax.models.layers.pool import FlatPool, ProbePool
from adaptface_jax.models.layers.remat import KEEP_MARKED, kept
from adaptface_jax.models.layers.rotary import Rotation, rotation
from adaptface_jax.models.specs import BackboneSpec


class Block(nnx.Module):
    """x + attention, x + MLP, each after a LayerNorm and, if the spec has it, before a LayerScale."""

    def __init__(self, spec: BackboneSpec, *, rngs: nnx.Rngs):
        self.norm1 = LayerNorm(spec.width, spec.norm_eps)
        self.attn = Attention(spec.width, spec.heads, spec.qkv_bias, rngs=rngs)
        self.norm2 = LayerNorm(spec.width, spec.norm_eps)
        self.mlp = Mlp(spec.width, spec.mlp_width, activation=spec.activation, gated=spec.mlp == "swiglu", rngs=rngs)
        self.scale1 = LayerScale(spec.width) if spec.layer_scale else None
        self.scale2 = LayerScale(spec.width) if spec.layer_scale else None

    def __call__(
        self,
        x: jax.Array,
        adaptation: Adaptation | None = None,
        attend: str = "whole",
        rotation: Rotation | None = None,
        rows: int | None = None,
    ) -> jax.Array:
        """rows: the number of first tokens to compute, [B, rows, D]; None: all."""
        cpu = attend == "each"
        branch = self.attn(self.norm1(x, cpu), adaptation, attend, rotation, rows)
        return self.after_attention(x[:, :rows], branch, adaptation, cpu)

    def after_attention(
        self, x: jax.Array, branch: jax.Array, adaptation: Adaptation | None, cpu: bool = False
    ) -> jax.Array:
        """x [B, rows, D] and its attention's output to the block's output. cpu: as for its layers."""
        x = kept(x + (branch if self.scale1 is None else self.scale1(branch)))
        branch = self.mlp(self.norm2(x, cpu), adaptation, cpu)
        return x + (branch if self.scale2 is None else self.scale2(branch))


@dataclasses.dataclass(frozen=True)
class Router:
    """Chooses the gates inside the backbone, after the first `block` blocks.

    gates: function of what `routed_by` makes of the tokens there, float32 [B, D or 2D].
    """

    block: int
    gates: Callable[[jax.Array], Gates]
    input: str = "mean"


def routed_by(tokens: jax.Array, form: str) -> jax.Array:
    """What a router inside the backbone sees of tokens [B, T, D], float32.

    form: `mean`, the mean token through a parameter-free LayerNorm, [B, D]; `mean_std`, that and the logarithm of each
    channel's deviation over the tokens, [B, 2D]: the style of MixStyle (arXiv 2104.02008). Blur and low resolution
    lower deviations and hardly change the mean; ratios of them, differences of logarithms, do not depend on contrast.
    """
    tokens = tokens.astype(jnp.float32)
    mean = jnp.mean(tokens, axis=1)
    seen = standardize(mean, 1e-6)
    if form == "mean":
        return seen
    variance = jnp.mean(jnp.square(tokens - mean[:, None]), axis=1)
    return jnp.concatenate([seen, 0.5 * jnp.log(variance + 1e-6)], axis=-1)


class Features(NamedTuple):
    """feature [B, d]; gate, of DA-LoRA; blocks [L, B, T, D], each block's output, if requested."""

    feature: jax.Array
    gate: Gates | None
    blocks: jax.Array | None


class ViT(nnx.Module):
    """Images [B, S, S, 3], normalized, in the compute dtype -> Features."""

    def __init__(self, spec: BackboneSpec, image_size: int, *, rngs: nnx.Rngs):
        grid, patch = image_size // spec.patch_size, spec.patch_size
        self.patch_embed = Dense(patch * patch * 3, spec.width, use_bias=spec.patch_bias, rngs=rngs)

        def rows(count: int) -> nnx.Param | None:
            return nnx.Param(0.02 * jax.random.normal(rngs.params(), (1, count, spec.width))) if count else None

        self.cls_token = rows(int(spec.class_token))
        self.pos_embed = rows(0 if spec.rotary else spec.class_token + grid * grid)
        self.register_tokens = rows(spec.registers)
        self.pre_norm = LayerNorm(spec.width, spec.norm_eps) if spec.pre_norm else None

        @nnx.vmap(in_axes=0, out_axes=0)
        def stacked(key: jax.Array) -> Block:
            return Block(spec, rngs=nnx.Rngs(params=key))

        self.blocks = stacked(jax.random.split(rngs.params(), spec.depth))
        self.norm = LayerNorm(spec.width, spec.norm_eps)
        self.pool = _pool(spec, image_size, rngs)
        self.projection = Dense(spec.width, spec.projection, use_bias=False, rngs=rngs) if spec.projection else None
        self.spec = spec

    def tokens(self, images: jax.Array, embed: Callable[[jax.Array], jax.Array] | None = None) -> jax.Array:
        """Patches, class token, positions and registers: [B, S, S, 3] -> [B, T, D]. embed: in place of patch_embed."""
        batch, size, _, channels = images.shape
        patch = self.spec.patch_size
        grid = size // patch
        if size % patch:  # as a convolution does
            images = images[:, : grid * patch, : grid * patch]
        cut = images.reshape(batch, grid, patch, grid, patch, channels).transpose(0, 1, 3, 2, 4, 5)
        x = (embed or self.patch_embed)(cut.reshape(batch, grid * grid, patch * patch * channels))

        def of_each(token: nnx.Param) -> jax.Array:
            return jnp.broadcast_to(token[...].astype(x.dtype), (batch, *token.shape[1:]))

        first = 0 if self.cls_token is None else 1
        if self.cls_token is not None:
            x = jnp.concatenate([of_each(self.cls_token), x], axis=1)
        if self.pos_embed is not None:
            x = x + self.pos_embed[...].astype(x.dtype)
        if self.register_tokens is not None:  # after CLS, and without a position
            x = jnp.concatenate([x[:, :first], of_each(self.register_tokens), x[:, first:]], axis=1)
        return x if self.pre_norm is None else self.pre_norm(x)

    def __call__(
        self,
        images: jax.Array,
        adapters: Mapping[str, Any] | None = None,
        *,
        gate: Gates | None = None,
        router: Router | None = None,
        key: jax.Array | None = None,
        scale: float = 1.0,
        dropout: float = 0.0,
        projected: bool = False,
        remat: bool = False,
        unroll: int = 1,
        attend: str = "whole",
        trained: bool = False,
        gather: Callable[[Any], Any] | None = None,
        return_blocks: bool = False,
        which: jax.Array | None = None,
        abreast: int = 1,
        mesh: Mesh | None = None,
    ) -> Features:
        """adapters: target -> {"a": [L, in, R], "b": [L, R, out]}. gate: weight of each rank, for each image.

        With `router`, the blocks before it use `gate`. `key` switches adapter dropout on. unroll: blocks per
        iteration of the loop over the depth; 0: no loop and no branch, for exported graphs.
        attend: a name in `layers.attend.ATTEND`; `fused`: blocks by `fused.blocks`, unless images have adapters of
        their own. trained: whether the blocks' own weights are trained. gather: collects a block's parameters if they
        are split, and again in the backward pass, since it marks nothing to be kept.
        which: int32 [B], the adapter of each image among M, if factors are [L, M, in, R] and [L, M, R, out]. abreast:
        the groups of images that a block computes as separate operations, if there are so many; without dropout.
        mesh: over whose devices images are split; `fused` needs to know.
        """
        definition, state = nnx.split(self.blocks)
        state = jax.tree.map(jnp.asarray, state)
        spec = self.spec
        turned = rotation(images.shape[1] // spec.patch_size, spec.width // spec.heads) if spec.rotary else None
        # The blocks that compute every token; the last one often needs only the class token.
        count = spec.depth if return_blocks or self.pool is not None else spec.depth - 1

        def body(i: jax.Array | int, carry: Any, layer: Any, rows: int | None = None) -> Any:
            groups, gate = carry
            block_state, low_rank = layer
            if router is not None:
                gate = _choose(
                    i == router.block,
                    lambda: router.gates(_joined([routed_by(x, router.input) for x in groups])),
                    lambda: gate,
                )
            adaptation = None
            if low_rank is not None:
                if which is not None:
                    low_rank = jax.tree.map(lambda leaf: leaf[which], low_rank)
                block_key = None if key is None else jax.random.fold_in(key, i)
                adaptation = Adaptation(low_rank, None if gate is None else gate.ranks, block_key, scale, dropout)
            if gather is not None:
                block_state = gather(block_state)
            block = nnx.merge(definition, block_state)
            adapted = [None] * len(groups) if adaptation is None else adaptation.split(len(groups))
            groups = [block(x, own, attend, turned, rows) for x, own in zip(groups, adapted, strict=True)]
            return (groups, gate), (_joined(groups) if return_blocks else None)

        def of_block(i: jax.Array | int, stacked: Any) -> Any:
            return jax.tree.map(lambda leaf: leaf[i], stacked)

        def looped(carry: Any, layer: Any) -> Any:
            i, own, low_rank = layer
            return body(i, carry, (of_block(i, state) if own is None else own, low_rank))

        embed, fuses = None, attend == FUSED and which is None and not return_blocks
        if fuses:
            from adaptface_jax.models import fused  # only here: jax means to give up the compiler of its kernels

            embed = fused.aligned(self.patch_embed)
        x = self.tokens(images, embed)
        # An exported batch has no length: it cannot even be split in one.
        carry = ([x] if abreast == 1 else jnp.split(x, math.gcd(len(x), abreast)), gate)
        if fuses:
            [x], gate = carry

            def layer(i: int, gate: Gates | None) -> tuple[Block, Adaptation | None]:
                block_state, low_rank = of_block(i, (state, adapters))
                ranks = None if gate is None else gate.ranks
                adaptation = None if low_rank is None else Adaptation(low_rank, ranks, scale=scale)
                return nnx.merge(definition, block_state), adaptation

            def chosen(i: int, seen: Callable[[], jax.Array], gate: Gates | None) -> Gates | None:
                if router is None or i != router.block:
                    return gate
                return router.gates(routed_by(seen(), router.input))

            x, gate = fused.blocks(layer, chosen, gate, x, count, spec.depth, spec.norm_eps, remat, mesh)
            carry, blocks, count = ([x], gate), None, spec.depth
        elif unroll == 0:
            outputs = []
            for i in range(count):
                carry, output = body(i, carry, of_block(i, (state, adapters)))
                outputs.append(output)
            blocks = jnp.stack(outputs) if return_blocks else None
        else:
            # Inside a loop the two passes share nothing, so common subexpression elimination cannot undo this.
            looped = jax.checkpoint(looped, policy=None if remat else KEEP_MARKED, prevent_cse=unroll >= count)
            # Frozen weights are read in place: a slice of their stack would be a copy.
            parts = jax.tree.map(lambda leaf: leaf[:count], (state if trained else None, adapters))
            carry, blocks = jax.lax.scan(looped, carry, (jnp.arange(count), *parts), unroll=unroll)
        for i in range(count, spec.depth):
            carry, _ = body(i, carry, of_block(i, (state, adapters)), rows=1)
        groups, gate = carry
        x = _joined(groups)
        feature = self.norm(x[:, 0]) if self.pool is None else self.pool(self.norm(x))
        if projected and self.projection is not None:
            feature = self.projection(feature)
        return Features(feature, gate, blocks)


def _joined(groups: list[jax.Array]) -> jax.Array:
    return groups[0] if len(groups) == 1 else jnp.concatenate(groups)


def _pool(spec: BackboneSpec, image_size: int, rngs: nnx.Rngs) -> ProbePool | FlatPool | None:
    if spec.pooling == "probe":
        return ProbePool(spec.width, spec.heads, spec.mlp_width, spec.activation, spec.norm_eps, rngs=rngs)
    if spec.pooling == "flat":
        return FlatPool(spec.tokens(image_size), spec.width, spec.feature_width, rngs=rngs)
    return None


def _choose(condition: jax.Array | bool, yes: Callable[[], Any], no: Callable[[], Any]) -> Any:
    """`lax.cond`, without a branch if the condition is static."""
    if isinstance(condition, bool):
        return yes() if condition else no()
    return jax.lax.cond(condition, yes, no)


def definition(spec: BackboneSpec, image_size: int, quantized: bool = False) -> tuple[nnx.GraphDef, dict[str, Any]]:
    """The module's graph and its parameters as ShapeDtypeStructs, nothing allocated.

    quantized: with the kernels of its blocks in 8 bits (`models.quantized`).
    """
    graph, state = _definition(spec, image_size, quantized)
    return graph, nnx.to_pure_dict(state)


@functools.cache  # every trace needs it, and building the modules would be a third of a trace
def _definition(spec: BackboneSpec, image_size: int, quantized: bool) -> tuple[nnx.GraphDef, nnx.State]:
    def built() -> ViT:
        model = ViT(spec, image_size, rngs=nnx.Rngs(0))
        for _, module in nnx.iter_modules(model.blocks) if quantized else ():
            if isinstance(module, Dense):
                module.quantize()
        return model

    return nnx.split(nnx.eval_shape(built))


def random_params(spec: BackboneSpec, image_size: int, seed: int) -> dict[str, Any]:
    """Newly initialized float32 parameters of the backbone."""
    return _draw(jax.random.key(seed), spec, image_size)


@functools.partial(jax.jit, static_argnums=(1, 2))  # as one program, which is kept on disk, and not as thirty
def _draw(key: jax.Array, spec: BackboneSpec, image_size: int) -> dict[str, Any]:
    return nnx.to_pure_dict(nnx.state(ViT(spec, image_size, rngs=nnx.Rngs(key))))
