"""What PEFT calls the layers that an adapter changes: as transformers 4 names modules ("v4"), and as 5 does ("v5").

The names of version 4 are those of the published weights, which version 5 still writes; version 5 renames DINOv2's
modules in memory, and an adapter is named after the memory. Both are rows of the weights' own tables.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from adaptface_jax.models.specs import BackboneSpec
from adaptface_jax.weights.names.dialects import HF_CLIP_BARE, HF_DINOV2, HF_DINOV2_MODULES
from adaptface_jax.weights.names.tables import Row, Table

Layout = Literal["v4", "v5"]
LAYOUTS: tuple[Layout, ...] = ("v5", "v4")

ROOT = "base_model.model."  # PEFT's wrappers around any model
# What a vision tower may stand under, by family.
PREFIXES = {"dinov2": ("", "dinov2.", "dinov2_with_registers."), "clip": ("", "vision_model.")}


class Module(NamedTuple):
    """One dense layer of the blocks: its name (`{i}`: the block), our layer, the slice k of n of its outputs."""

    name: str
    layer: str
    part: tuple[int, int]


def tower_table(spec: BackboneSpec, layout: Layout) -> Table:
    """The names of the vision tower alone."""
    if spec.family == "clip":
        return HF_CLIP_BARE
    return HF_DINOV2 if layout == "v4" else HF_DINOV2_MODULES


def modules(spec: BackboneSpec, layout: Layout) -> tuple[Module, ...]:
    """Every dense layer of the blocks."""
    rows = [(row, (row.path or "").split("/")) for row in tower_table(spec, layout).rows if row.holds(spec)]
    return tuple(
        Module(row.name.removesuffix(".weight"), path[2], row.part)
        for row, path in rows
        if path[0] == "blocks" and path[-1] == "kernel"
    )


def patch_rows(spec: BackboneSpec) -> dict[str, Row]:
    """Leaf of our patch embedding (kernel, and bias where there is one) -> its row; the same in both layouts."""
    found = ((row, (row.path or "").split("/")) for row in tower_table(spec, "v4").rows)
    return {path[1]: row for row, path in found if path[0] == "patch_embed"}


def patch_module(spec: BackboneSpec) -> str:
    """The convolution that cuts the image into patches."""
    return patch_rows(spec)["kernel"].name.removesuffix(".weight")


def tower_prefix(spec: BackboneSpec, feature: str, layout: Layout) -> str:
    """What the tower stands under in the class that gives our feature: CLIPVisionModel lost it in transformers 5.6."""
    return "vision_model." if spec.family == "clip" and (layout == "v4" or feature == "projected") else ""


def covering(target: str) -> tuple[str, tuple[int, int]]:
    """The layer that a target of ours changes, and which slice k of n of its outputs."""
    return ("qkv", ("qkv".index(target), 3)) if target in ("q", "k", "v") else (target, (0, 1))
