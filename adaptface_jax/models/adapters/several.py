# SPDX-License-Identifier: Apache-2.0
"""Adapters of several models on one backbone, each image with its own.

Every trainable leaf gets an axis of M models: {"a": [L, M, in, R], "b": [L, M, R, out]} of a target, [M, ...] of
router, head and patch embedding; `WHICH`, int32 [B], is the number of each image's model. An image's parameters are
gathered by that number, so M costs memory but no time, and replacing a model needs no compilation. Source of the idea:
S-LoRA (arXiv 2311.03285), whose batches mix adapters.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from adaptface_jax.config.schema import AdapterConfig, Config
from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.models.adapters import lora, places
from adaptface_jax.models.specs import BackboneSpec

WHICH = "which"
RANKS = 8  # the rank axis is a multiple of it, so that slightly larger ranks fit

Tree = dict[str, Any]


def common(configs: Sequence[Config]) -> Config:
    """Settings that fit all of them: every target, and the largest rank; scales are 1, since they are in the Bs.

    Raises InputError if they cannot be combined; the caller adds their names.
    """
    first = configs[0]
    for config in configs:
        check_alike(first, config)
    kinds = [config.adapter for config in configs if config.adapter.kind != "none"]
    if not kinds:
        return first
    rank = max(map(places.widest, kinds))
    if kinds[0].kind == "lora":
        rank = -(-rank // RANKS) * RANKS
    targets = tuple(dict.fromkeys(target for adapter in kinds for target in adapter.targets))
    adapter = dataclasses.replace(
        kinds[0], rank=rank, alpha=float(rank), targets=targets, use_rslora=False, shared_rank=lora.shared(kinds[0]),
        blocks=(), rank_pattern={}, alpha_pattern={}, init_from="",
    )  # fmt: skip
    trained = any(config.backbone.train_patch_embed for config in configs)
    return dataclasses.replace(
        first, adapter=adapter, backbone=dataclasses.replace(first.backbone, train_patch_embed=trained)
    )


def check_alike(first: Config, other: Config) -> None:
    """Raise InputError unless adapters with these settings can be combined."""
    for config in (first, other):
        if config.adapter.kind == "full":
            raise InputError("is a full fine-tuning, a separate backbone and not an adapter; open it by itself")
    for name, one, two in (
        ("backbone.name", first.backbone.name, other.backbone.name),
        ("backbone.image_size", first.backbone.image_size, other.backbone.image_size),
        ("backbone.quantize", first.backbone.quantize, other.backbone.quantize),
        ("backbone.feature", first.backbone.feature, other.backbone.feature),
        ("head.kind", first.head.kind, other.head.kind),
        ("head.embedding_dim", first.head.embedding_dim, other.head.embedding_dim),
        ("its gates", gates(first.adapter), gates(other.adapter)),
    ):
        if one != two:
            raise InputError(f"{name} is {two}, not {one}; open it by itself, or with runs like it")


def gates(adapter: AdapterConfig) -> str:
    """What combined DA-LoRAs must have in common, in words."""
    if adapter.kind != "dalora":
        return "none"
    shared = f" and {lora.shared(adapter)} shared" if adapter.shared_rank else ""
    null = ", the last of them the frozen model's" if adapter.null_expert else ""
    alone = ", top-1" if adapter.gate == "top1" else ""
    where = places.router_words(adapter)
    return f"{adapter.num_domains} of rank {places.widest(adapter)}{shared} at {where}{null}{alone}"


def alone(frozen: Mapping[str, Any], trainable: Tree, config: Config, form: Config, spec: BackboneSpec) -> Tree:
    """One model's trainable tree in the layout of `form` (`common`); the class centers are omitted.

    Raises InputError if it needs targets or ranks that do not fit.
    """
    result: Tree = {name: trainable[name] for name in ("router", "head") if name in trainable}
    if form.adapter.kind != "none":
        result["adapter"] = _factors(trainable.get("adapter", {}), config.adapter, form.adapter, spec)
    if form.backbone.train_patch_embed:
        own = trainable.get("backbone", {"patch_embed": frozen["backbone"]["patch_embed"]})
        result["backbone"] = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), own)
    elif "backbone" in trainable:
        raise InputError("trains the patch embedding, which none of the others did; include it when they are opened")
    return result


def _factors(factors: Mapping[str, Any], config: AdapterConfig, form: AdapterConfig, spec: BackboneSpec) -> Tree:
    length = lora.width(form)
    if beyond := [target for target in factors if target not in form.targets]:
        raise InputError(f"adapts {beyond[0]}, which none of the others did; include it when they are opened")
    if factors and lora.width(config) > length:
        raise InputError(f"has rank {lora.width(config)}, above the limit {length}; include it when they are opened")
    scale = 1.0
    if factors:
        factors, scale = lora.applied(factors, spec, config)
    result = {}
    for target, (din, dout) in lora.target_shapes(spec, form.targets).items():
        a, b = jnp.zeros((spec.depth, din, length)), jnp.zeros((spec.depth, length, dout))
        if target in factors:
            ranks = factors[target]["a"].shape[-1]
            a = a.at[..., :ranks].set(factors[target]["a"])
            b = b.at[:, :ranks].set(scale * factors[target]["b"])
        result[target] = {"a": a, "b": b}
    return result


def slots(tree: Tree, count: int) -> Tree:
    """`count` empty slots for trees like this one (`alone`)."""
    return _by_axis(lambda axis, leaf: jnp.stack([jnp.zeros_like(leaf)] * count, axis), tree)


def put(stack: Tree, place: int, tree: Tree) -> Tree:
    """`stack` with this tree in slot `place`."""
    return _by_axis(lambda axis, all_, one: jax.lax.dynamic_update_index_in_dim(all_, one, place, axis), stack, tree)


def of_images(trainable: Tree) -> Tree:
    """The router's, head's and patch embedding's values of each image, [B, ...]; a block gathers its own factors."""
    which = trainable[WHICH]
    result = {part: jax.tree.map(lambda leaf: leaf[which], trainable[part]) for part in trainable if part != "adapter"}
    if "backbone" in result:  # a bias [B, D] is added to tokens [B, T, D]
        flat = trees.flatten(result["backbone"])
        result["backbone"] = trees.unflatten(
            {path: leaf[:, None] if leaf.ndim == 2 else leaf for path, leaf in flat.items()}
        )
    return trainable | result


def _by_axis(function: Callable[..., jax.Array], *all_trees: Tree) -> Tree:
    """`function` of the model axis, which in a target's factors follows the depth, and of each leaf."""
    return {
        part: jax.tree.map(functools.partial(function, int(part == "adapter")), *(tree[part] for tree in all_trees))
        for part in all_trees[0]
    }
