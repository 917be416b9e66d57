# SPDX-License-Identifier: Apache-2.0
"""The face recognizer: a frozen tree and a trainable tree in, embeddings out.

    frozen    = {"backbone": {...}}                                  (empty for full fine-tuning)
    trainable = {"adapter": {...}, "router": {...}, "head": {...}, "centers": [C, d], "backbone": {...}}

Only the parts of a configuration are present; `trainable["backbone"]` contains trained copies of backbone leaves
(the patch embedding, or everything), which replace the frozen ones.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from adaptface_jax.config.schema import Config
from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.distributed.fsdp import gathered
from adaptface_jax.models import vit
from adaptface_jax.models.adapters import lora, places, router, several
from adaptface_jax.models.head import head_kind, init_centers, init_head
from adaptface_jax.models.layers.attend import FUSED, chosen
from adaptface_jax.models.layers.dense import linear
from adaptface_jax.models.layers.low_rank import Gates, rank_gates
from adaptface_jax.models.quantized import is_scale, with_quantized_blocks
from adaptface_jax.models.specs import BackboneSpec

Tree = dict[str, Any]
GROUPS = 2  # of images, in a pass by itself on one CPU


class Embedded(NamedTuple):
    """embedding float32 [B, E], not normalized; feature [B, d]; gate float32 [B, K], rows of sum 1, or None.

    With `adapter.gate=top1` only the largest gate is used, with weight 1.
    """

    embedding: jax.Array
    feature: jax.Array
    gate: jax.Array | None


@dataclasses.dataclass(frozen=True)
class Recognizer:
    """Pure functions of the two trees; contains no arrays.

    mesh: over whose devices images are split, and over groups of which the frozen blocks are (`train.fsdp`); None: on
    one device, or where the compiler may split everything as it likes.
    written_out: whether the blocks are written one after another, without a loop or a branch, for exported graphs.
    """

    spec: BackboneSpec
    config: Config
    dtype: Any
    mesh: Mesh | None = None
    written_out: bool = False

    @property
    def feature_dim(self) -> int:
        projected = self.config.backbone.feature == "projected"
        return self.spec.projection if projected and self.spec.projection else self.spec.feature_width

    @property
    def has_head(self) -> bool:
        """Whether a trained layer maps the feature to the embedding."""
        return head_kind(self.config.head.kind, self.spec) == "linear"

    @property
    def embedding_dim(self) -> int:
        return self.config.head.embedding_dim if self.has_head else self.feature_dim

    @property
    def num_domains(self) -> int:
        """K of DA-LoRA, 0 without a router."""
        return self.config.adapter.num_domains if self.config.adapter.kind == "dalora" else 0

    @property
    def quantized(self) -> bool:
        """Whether the kernels of the frozen blocks are stored in 8 bits."""
        return self.config.backbone.quantize == "int8"

    @property
    def attend(self) -> str:
        """How attention is computed here: a name in `layers.attend.ATTEND`."""
        return self._attention[0]

    @property
    def attention(self) -> str:
        """The same, with the reason if kernels that fit are not used."""
        name, reason = self._attention
        if reason:
            return f"{name} (not {FUSED}: {reason} on this device)"
        if name != FUSED:
            return name
        from adaptface_jax.models.kernels import proof

        reason = proof.wrong_on_hopper(self.spec.width, self.spec.mlp_width) or ""
        return f"{name} (without some of its kernels: {reason} on this device)" if reason else name

    @property
    def _attention(self) -> tuple[str, str]:
        head_dim = self.spec.width // self.spec.heads
        name = chosen(self.config.backbone.attention, head_dim, self.dtype, self._unfit)
        if name != FUSED:
            return name, ""
        from adaptface_jax.models.kernels import proof  # only here: jax means to give up the compiler of the kernels

        reason = proof.wrong(self.spec.width, self.spec.heads, self.spec.mlp_width)
        if reason and self.config.backbone.attention == FUSED:
            raise InputError(f"backbone.attention: {FUSED}: {reason} on this device; set it to auto")
        return ("cudnn", reason) if reason else (name, "")

    @property
    def _unfit(self) -> str:
        """Why `models.fused` cannot compute the blocks, "" if it can."""
        if self.config.adapter.kind == "full":
            return "the backbone is trained"
        if self.config.adapter.dropout:
            return "adapter.dropout is not 0"
        if self.spec.rotary or self.spec.mlp == "swiglu":
            return f"{self.spec.family} has rotary positions or SwiGLU"
        if self._sharing is not None:
            return "train.fsdp splits the blocks over devices"
        if self.mesh is None and jax.device_count() > 1:
            return f"images are split over {jax.device_count()} devices, and nothing tells how"
        return ""

    @property
    def _sharing(self) -> Mesh | None:
        """The mesh whose devices share the frozen blocks, None if each has all of them."""
        return self.mesh if self.config.train.fsdp > 1 else None

    def init(self, backbone: Tree, num_classes: int | None, mesh: Mesh | None = None) -> tuple[Tree, Tree]:
        """(frozen, trainable) from the backbone's parameters; class centers only if num_classes is given.

        Frozen leaves stay where the given parameters are, on the host or on a device. mesh: of the class centers.
        """
        adapter = self.config.adapter
        trainable: Tree = {}
        if adapter.kind in ("lora", "dalora"):
            trainable["adapter"] = lora.init_adapters(self._key("adapter"), self.spec, adapter)
        if adapter.kind == "dalora":
            trainable["router"] = router.init_router(self._key("router"), self._router_width, adapter.num_domains)
        if self.has_head:
            trainable["head"] = init_head(self._key("head"), self.feature_dim, self.embedding_dim)
        if num_classes is not None:
            trainable["centers"] = self.init_centers(num_classes, mesh)
        if adapter.kind == "full":
            trainable["backbone"] = jax.tree.map(as_float32, backbone)
            return {}, trainable
        if self.config.backbone.train_patch_embed:
            trainable["backbone"] = {"patch_embed": jax.tree.map(as_float32, backbone["patch_embed"])}
        return {"backbone": self._stored(backbone)}, trainable

    def init_centers(self, num_classes: int, mesh: Mesh | None = None) -> jax.Array:
        """The class centers before training, float32 [C, E * sub-centers]; split over `mesh`, if one is given."""
        dim = self.embedding_dim * self.config.loss.subcenters
        return init_centers(self._key("centers"), num_classes, dim, mesh)

    def _key(self, part: str) -> jax.Array:
        """The key of the initial values of a part."""
        number = ("adapter", "router", "head", "centers").index(part)
        return jax.random.fold_in(jax.random.key(self.config.seed), number)

    @property
    def _router_width(self) -> int:
        """The frozen router takes the backbone's feature, an inner one what `vit.routed_by` makes of its tokens."""
        if places.router_block(self.config.adapter.router) is None:
            return self.feature_dim
        return self.spec.width * (2 if self.config.adapter.router_input == "mean_std" else 1)

    def _stored(self, backbone: Tree) -> Tree:
        """The backbone's parameters as the frozen tree keeps them."""
        if self.quantized:
            backbone = with_quantized_blocks(backbone)
        rounded = {
            path: leaf if leaf.dtype == np.int8 or is_scale(path) else leaf.astype(self.dtype, copy=False)
            for path, leaf in trees.flatten(backbone).items()
        }
        return trees.unflatten(rounded)

    def embed(
        self,
        frozen: Tree,
        trainable: Tree,
        images: jax.Array,
        key: jax.Array | None = None,
        plain: jax.Array | None = None,
    ) -> Embedded:
        """Images [B, S, S, 3], normalized, in the compute dtype. `key` switches dropout on, for training.

        plain: their `plain_feature`, float32 [B, d], if it is known: the frozen router then needs no pass of its own.
        trainable: of one model, or of several with the number of each image's model (`adapters.several`).
        """
        which = trainable.get(several.WHICH)
        if which is not None:
            trainable = several.of_images(trainable)

        def each(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
            """A function of parameters and rows, where every row may have its own parameters."""
            return function if which is None else jax.vmap(function)

        base = frozen.get("backbone", {})
        params = trees.overlay(base, trainable.get("backbone", {}))
        model = nnx.merge(self._definition, params)
        adapter = self.config.adapter
        adapter_key, router_key = (None, None) if key is None else jax.random.split(key)
        low_rank, scale = trainable.get("adapter"), 1.0
        if low_rank is not None:
            low_rank, scale = lora.applied(low_rank, self.spec, adapter)
        rank, shared = places.widest(adapter), lora.shared(adapter)
        gate, inner = None, None
        if self.num_domains:
            block = places.router_block(adapter.router)

            def routed(features: jax.Array) -> Gates:
                gates = each(lambda params, rows: router.gates(params, rows, router_key))(trainable["router"], features)
                acting = router.top_gate(gates) if adapter.gate == "top1" else gates
                return Gates(gates, rank_gates(acting, rank, shared, adapter.null_expert))

            if block is None:
                gate = routed(self.plain_feature(frozen, images) if plain is None else plain)
            else:
                even = jnp.broadcast_to(jnp.float32(1 / self.num_domains), (images.shape[0], self.num_domains))
                gate = Gates(even, rank_gates(even, rank, shared, adapter.null_expert))
                inner = vit.Router(block, routed, adapter.router_input)
        out = model(
            images,
            low_rank,
            gate=gate,
            router=inner,
            key=adapter_key,
            scale=scale,
            dropout=adapter.dropout,
            remat=self.config.train.remat and key is not None,
            trained=adapter.kind == "full",
            which=which,
            **self._options(training=key is not None),
        )
        feature = out.feature.astype(jnp.float32)
        embedding = each(linear)(trainable["head"], feature) if "head" in trainable else feature
        return Embedded(embedding, feature, None if out.gate is None else out.gate.experts)

    def plain_feature(self, frozen: Tree, images: jax.Array) -> jax.Array:
        """The frozen model's feature, float32 [B, d], without a gradient; images as for `embed`."""
        model = nnx.merge(self._definition, frozen["backbone"])
        return jax.lax.stop_gradient(model(images, **self._options(training=False)).feature.astype(jnp.float32))

    def _options(self, training: bool) -> dict[str, Any]:
        """The options of a pass through the backbone; training: with a backward pass after it.

        On one CPU a loop copies what it keeps for the backward pass, on a single core, and an operation leaves cores
        waiting at its end, unless there is another one for them.
        """
        one_cpu = self.attend == "each"
        unroll = self.config.train.unroll or (self.spec.depth if one_cpu and training else 1)
        return {
            "projected": self.config.backbone.feature == "projected",
            "unroll": 0 if self.written_out else unroll,
            "abreast": GROUPS if one_cpu and not training else 1,
            "attend": self.attend,
            "gather": None if self._sharing is None else functools.partial(gathered, self._sharing),
            "mesh": self.mesh,
        }

    @property
    def _definition(self) -> nnx.GraphDef:
        return vit.definition(self.built_spec, self.config.backbone.image_size, self.quantized)[0]

    @property
    def built_spec(self) -> BackboneSpec:
        """The spec without a projection that the feature does not use."""
        return built_spec(self.spec, self.config.backbone.feature)


def built_spec(spec: BackboneSpec, feature: str) -> BackboneSpec:
    """`spec` without its projection unless the feature is the projected one: no unused parameters."""
    return spec if feature == "projected" else dataclasses.replace(spec, projection=None)


def as_float32(x: Any) -> jax.Array:
    """A trained leaf, in float32 whatever the dtype of the frozen tree."""
    return jnp.asarray(x, jnp.float32)


def compute_dtype(name: str) -> Any:
    """The dtype of `backbone.dtype`: auto is float32 on a CPU and bfloat16 on an accelerator."""
    if name == "auto":
        name = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return {"float32": jnp.float32, "bfloat16": jnp.bfloat16}[name]


@dataclasses.dataclass(frozen=True)
class ParameterCount:
    """The number of scalars of a part of the model, and of trained ones; total None: not in the recognizer."""

    part: str
    total: int | None
    trainable: int


def count_parameters(recognizer: Recognizer, frozen: Tree, trainable: Tree) -> list[ParameterCount]:
    """One row per part; a layer that is trained as a copy is counted once; centers are not included."""
    trained_backbone = trees.flatten(trainable.get("backbone", {}))
    whole_backbone = {**trees.flatten(frozen.get("backbone", {})), **trained_backbone}
    rows = [ParameterCount("backbone", size(whole_backbone), size(trained_backbone))]
    for part in parts(trainable):
        if part == "adapter":
            count = lora.count_parameters(recognizer.spec, recognizer.config.adapter)
        else:
            count = trees.count(trainable[part])
        rows.append(ParameterCount(part, count, count))
    return rows


def parts(trainable: Tree) -> list[str]:
    """The trainable parts other than the backbone and the class centers."""
    return [part for part in ("adapter", "router", "head") if part in trainable]


def size(flat: dict[str, Any]) -> int:
    """The number of parameters in a flat tree, however they are stored."""
    return sum(int(np.prod(leaf.shape)) for path, leaf in flat.items() if not is_scale(path))


def check_classes(num_classes: int) -> None:
    """Raise InputError if there are fewer than two classes."""
    if num_classes < 2:
        raise InputError(f"data.train: {num_classes} class; a margin loss needs at least 2 identities")
