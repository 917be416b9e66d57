# SPDX-License-Identifier: Apache-2.0
"""PEFT's names of the layers that an adapter changes: rows of the weights' own tables.

transformers 4 ("v4") names modules like the published weights, which version 5 ("v5") still writes; version 5 renames
DINOv2's modules in memory, and an adapter uses the names in memory. Adapters are written in these two, and read in
every naming.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from adaptface_jax.models.specs import BackboneSpec, Family
from adaptface_jax.weights.names.dialects import (
    HF_CLIP_BARE,
    HF_DINOV2,
    HF_DINOV2_MODULES,
    HUB_DINOV2,
    HUB_DINOV2_CHUNKED,
    OPENAI_CLIP,
    TIMM_CLIP,
    TIMM_DINOV2,
)
from adaptface_jax.weights.names.dinov3 import HF_DINOV3, HF_DINOV3_MODULES, HUB_DINOV3, TIMM_DINOV3
from adaptface_jax.weights.names.faces import INSIGHTFACE
from adaptface_jax.weights.names.siglip import HF_SIGLIP, TIMM_SIGLIP
from adaptface_jax.weights.names.tables import Row, Table
from adaptface_jax.weights.peft.layouts import Layout

ROOT = "base_model.model."  # PEFT's wrappers around any model
# By family; if two name the same modules, the first is used.
_READ = {
    "dinov2": (HF_DINOV2_MODULES, HF_DINOV2, TIMM_DINOV2, HUB_DINOV2, HUB_DINOV2_CHUNKED),
    "clip": (HF_CLIP_BARE, TIMM_CLIP, OPENAI_CLIP),
    "dinov3": (HF_DINOV3_MODULES, HF_DINOV3, HUB_DINOV3, TIMM_DINOV3),
    "siglip": (HF_SIGLIP, TIMM_SIGLIP),
    "face": (INSIGHTFACE,),
}
# By family: the tower by itself in the naming of transformers 4 and 5; or InsightFace's.
_TOWERS: dict[Family, dict[Layout, Table]] = {
    "dinov2": {"v4": HF_DINOV2, "v5": HF_DINOV2_MODULES},
    "clip": {"v4": HF_CLIP_BARE, "v5": HF_CLIP_BARE},
    "dinov3": {"v4": HF_DINOV3, "v5": HF_DINOV3_MODULES},
    "siglip": {"v4": HF_SIGLIP, "v5": HF_SIGLIP},
    "face": {"v4": INSIGHTFACE, "v5": INSIGHTFACE},
}
_PEOPLE = {
    HF_DINOV2_MODULES.name: "transformers v5",
    HF_DINOV2.name: "transformers v4",
    HF_CLIP_BARE.name: "transformers",
}


class Module(NamedTuple):
    """One dense layer of the blocks: its name (`{i}`: the block), our layer, the slice k of n of its outputs."""

    name: str
    layer: str
    part: tuple[int, int]


def tower_table(spec: BackboneSpec, layout: Layout) -> Table:
    """The names of the vision tower by itself."""
    return _TOWERS[spec.family][layout]


def tables(spec: BackboneSpec) -> tuple[Table, ...]:
    """Every naming in which adapters occur."""
    return _READ[spec.family]


def naming(table: Table) -> str:
    """The name of a naming, to be displayed."""
    return _PEOPLE.get(table.name, table.name)


def modules(spec: BackboneSpec, layout: Layout) -> tuple[Module, ...]:
    """Every dense layer of the blocks."""
    return modules_of(tower_table(spec, layout), spec)


def modules_of(table: Table, spec: BackboneSpec) -> tuple[Module, ...]:
    """The same in any naming."""
    rows = [(row, (row.path or "").split("/")) for row in table.rows if row.holds(spec)]
    return tuple(
        Module(row.name.removesuffix(".weight").removesuffix(".in_proj_weight"), path[2], (row.part[0], row.part[1]))
        for row, path in rows
        if path[0] == "blocks" and path[-1] == "kernel"
    )


def namesakes(spec: BackboneSpec, layout: Layout, ends: Collection[str]) -> list[str]:
    """The modules outside the blocks that PEFT would take for targets with these ends: those of SigLIP's pooling."""
    rows = (row for row in tower_table(spec, layout).rows if row.path and not row.path.startswith("blocks/"))
    names = (row.name.removesuffix(".weight") for row in rows if row.name.endswith(".weight"))
    return [name for name in names if any(name.endswith(f".{end}") for end in ends)]


def patch_rows(spec: BackboneSpec) -> dict[str, Row]:
    """Leaf of our patch embedding (kernel, and bias if it has one) -> its row; the same in both layouts."""
    return patch_rows_of(tower_table(spec, "v4"))


def patch_rows_of(table: Table) -> dict[str, Row]:
    """The same in any naming."""
    found = ((row, (row.path or "").split("/")) for row in table.rows)
    return {path[1]: row for row, path in found if path[0] == "patch_embed"}


def pool_modules(table: Table) -> frozenset[str]:
    """The modules that pool the tokens of all blocks."""
    names = (row.name for row in table.rows if row.path and row.path.startswith("pool/"))
    return frozenset(re.sub(r"\.(?:in_proj_)?(?:weight|bias)$", "", name) for name in names)


def patch_module(spec: BackboneSpec) -> str:
    """The convolution that splits the image into patches."""
    return patch_rows(spec)["kernel"].name.removesuffix(".weight")


def tower_prefix(spec: BackboneSpec, feature: str, layout: Layout) -> str:
    """The tower's prefix in the class that computes our feature: CLIPVisionModel lost it in transformers 5.6."""
    within = spec.family in ("clip", "siglip")
    return "vision_model." if within and (layout == "v4" or feature == "projected") else ""


def covering(target: str) -> tuple[str, tuple[int, int]]:
    """The layer that one of our targets changes, and which slice k of n of its outputs."""
    return ("qkv", ("qkv".index(target), 3)) if target in ("q", "k", "v") else (target, (0, 1))


def modules_of_target(spec: BackboneSpec, layout: Layout, target: str) -> list[tuple[Module, int, int]]:
    """The modules that one of our targets changes, and which slice k of n of the target's outputs each of them is."""
    layer, single = covering(target)
    found = (module for module in modules(spec, layout) if module.layer == layer)
    if single[1] > 1:
        return [(module, 0, 1) for module in found if module.part == single]
    return [(module, *module.part) for module in found]
