"""The face recogniser: a frozen tree and a trainable tree in, embeddings out.

    frozen    = {"backbone": {...}}                                  (empty for full fine-tuning)
    trainable = {"adapter": {...}, "router": {...}, "head": {...}, "centres": [C, d], "backbone": {...}}

Only the parts that a configuration has are there; `trainable["backbone"]` holds trained copies of backbone leaves
(the patch embedding, or everything), which stand in for the frozen ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from adaptface_jax.config.schema import Config
from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.models import vit
from adaptface_jax.models.adapters import lora, places, router, several
from adaptface_jax.models.head import init_centres, init_head
from adaptface_jax.models.layers.attend import chosen
from adaptface_jax.models.layers.dense import linear
from adaptface_jax.models.layers.low_rank import rank_gates
from adaptface_jax.models.specs import BackboneSpec

Tree = dict[str, Any]


class Embedded(NamedTuple):
    """embedding float32 [B, E], not normalised; feature [B, d]; gate float32 [B, K] or None."""

    embedding: jax.Array
    feature: jax.Array
    gate: jax.Array | None


@dataclasses.dataclass(frozen=True)
class Recognizer:
    """Pure functions of the two trees; holds no arrays."""

    spec: BackboneSpec
    config: Config
    dtype: Any

    @property
    def feature_dim(self) -> int:
        projected = self.config.backbone.feature == "projected"
        return self.spec.projection if projected and self.spec.projection else self.spec.width

    @property
    def embedding_dim(self) -> int:
        return self.feature_dim if self.config.head.kind == "none" else self.config.head.embedding_dim

    @property
    def num_domains(self) -> int:
        """K of DA-LoRA, 0 without a router."""
        return self.config.adapter.num_domains if self.config.adapter.kind == "dalora" else 0

    @property
    def attend(self) -> str:
        """How attention is computed here: a name in `layers.attend.ATTEND`."""
        return chosen(self.config.backbone.attention, self.spec.width // self.spec.heads, self.dtype)

    def init(self, backbone: Tree, num_classes: int | None) -> tuple[Tree, Tree]:
        """(frozen, trainable) from the backbone's parameters; class centres only where num_classes is given."""
        adapter = self.config.adapter
        keys = {
            name: jax.random.fold_in(jax.random.key(self.config.seed), i)
            for i, name in enumerate(("adapter", "router", "head", "centres"))
        }
        trainable: Tree = {}
        if adapter.kind in ("lora", "dalora"):
            trainable["adapter"] = lora.init_adapters(keys["adapter"], self.spec, adapter)
        if adapter.kind == "dalora":
            # The frozen router sees the backbone's feature, an inner one the mean token.
            inner = places.router_block(adapter.router) is not None
            width = self.spec.width if inner else self.feature_dim
            trainable["router"] = router.init_router(keys["router"], width, adapter.num_domains)
        if self.config.head.kind == "linear":
            trainable["head"] = init_head(keys["head"], self.feature_dim, self.embedding_dim)
        if num_classes is not None:
            trainable["centres"] = init_centres(keys["centres"], num_classes, self.embedding_dim)
        if adapter.kind == "full":
            trainable["backbone"] = jax.tree.map(as_float32, backbone)
            return {}, trainable
        if self.config.backbone.train_patch_embed:
            trainable["backbone"] = {"patch_embed": jax.tree.map(as_float32, backbone["patch_embed"])}
        return {"backbone": jax.tree.map(lambda x: jnp.asarray(x, self.dtype), backbone)}, trainable

    def embed(self, frozen: Tree, trainable: Tree, images: jax.Array, key: jax.Array | None = None) -> Embedded:
        """Images [B, S, S, 3], normalised, in the compute dtype. `key` switches the dropouts of training on.

        trainable: that of one model, or of several with the number of each image's (`adapters.several`).
        """
        which = trainable.get(several.WHICH)
        if which is not None:
            trainable = several.of_images(trainable)

        def each(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
            """A function of parameters and rows, where every row may have its own."""
            return function if which is None else jax.vmap(function)

        base = frozen.get("backbone", {})
        params = trees.overlay(base, trainable.get("backbone", {}))
        model = nnx.merge(self._definition, params)
        adapter = self.config.adapter
        projected = self.config.backbone.feature == "projected"
        adapter_key, router_key = (None, None) if key is None else jax.random.split(key)
        common = {
            "projected": projected,
            "remat": self.config.train.remat and key is not None,
            "unroll": self.config.train.unroll,
            "attend": self.attend,
        }
        low_rank, scale = trainable.get("adapter"), 1.0
        if low_rank is not None:
            low_rank, scale = lora.applied(low_rank, self.spec, adapter)
        rank, shared = places.widest(adapter), lora.shared(adapter)
        gate, inner = None, None
        if self.num_domains:
            block = places.router_block(adapter.router)

            def of_ranks(features: jax.Array) -> jax.Array:
                gates = each(lambda params, rows: router.gates(params, rows, router_key))(trainable["router"], features)
                return rank_gates(gates, rank, shared)

            if block is None:
                plain = nnx.merge(self._definition, dict(base))(images, **{**common, "remat": False})
                gate = of_ranks(jax.lax.stop_gradient(plain.feature))
            else:
                even = jnp.broadcast_to(jnp.float32(1 / self.num_domains), (images.shape[0], self.num_domains))
                gate = rank_gates(even, rank, shared)
                inner = vit.Router(block, of_ranks)
        out = model(
            images,
            low_rank,
            gate=gate,
            router=inner,
            key=adapter_key,
            scale=scale,
            dropout=adapter.dropout,
            which=which,
            **common,
        )
        feature = out.feature.astype(jnp.float32)
        embedding = each(linear)(trainable["head"], feature) if "head" in trainable else feature
        gate = None if out.gate is None else out.gate[:, shared::rank]
        return Embedded(embedding, feature, gate)

    @property
    def _definition(self) -> nnx.GraphDef:
        return vit.definition(self.built_spec, self.config.backbone.image_size)[0]

    @property
    def built_spec(self) -> BackboneSpec:
        """The spec without a projection that the feature does not use."""
        return built_spec(self.spec, self.config.backbone.feature)


def built_spec(spec: BackboneSpec, feature: str) -> BackboneSpec:
    """`spec` without its projection unless the feature is the projected one: nothing unused is held."""
    return spec if feature == "projected" else dataclasses.replace(spec, projection=None)


def as_float32(x: Any) -> jax.Array:
    """A trained leaf is kept in float32 whatever the frozen tree is stored in."""
    return jnp.asarray(x, jnp.float32)


def compute_dtype(name: str) -> Any:
    """The dtype of `backbone.dtype`: auto is float32 on a CPU and bfloat16 on an accelerator."""
    if name == "auto":
        name = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return {"float32": jnp.float32, "bfloat16": jnp.bfloat16}[name]


@dataclasses.dataclass(frozen=True)
class ParameterCount:
    """How many scalars a part of the model has, and how many of them are trained; total None: not in the recogniser."""

    part: str
    total: int | None
    trainable: int


def count_parameters(recognizer: Recognizer, frozen: Tree, trainable: Tree) -> list[ParameterCount]:
    """A row a part; a layer that is trained as a copy is counted once; centres are not among them."""
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
    """The trainable parts beside the backbone and the class centres."""
    return [part for part in ("adapter", "router", "head") if part in trainable]


def size(flat: dict[str, Any]) -> int:
    """Scalars in a flat tree."""
    return sum(int(np.prod(leaf.shape)) for leaf in flat.values())


def check_classes(num_classes: int) -> None:
    """Raise InputError where there is nothing to tell apart."""
    if num_classes < 2:
        raise InputError(f"data.train: {num_classes} class; a margin loss needs at least 2 identities")
