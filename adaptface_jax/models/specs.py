"""Rows of data: backbone sizes, image statistics, position-embedding rules.

A new size is a new row here; no other file lists backbones.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from adaptface_jax.core.errors import InputError


@dataclasses.dataclass(frozen=True)
class ImageStats:
    """Per-channel mean and standard deviation of RGB images scaled to [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


IMAGENET = ImageStats((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ImageStats((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = ImageStats((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclasses.dataclass(frozen=True)
class PositionRule:
    """How a source resizes its position embedding to another grid (always bicubic).

    antialias: the kernel widens when shrinking and has a = -0.5 (else a = -0.75), as in torch.
    offset: added to the target size when computing the scale (0.1 in the original DINOv2).
    """

    antialias: bool
    offset: float = 0.0


POSITION_RULES = {
    "dinov2": PositionRule(antialias=False, offset=0.1),
    "bicubic": PositionRule(antialias=False),
    "bicubic_antialias": PositionRule(antialias=True),
}


@dataclasses.dataclass(frozen=True)
class BackboneSpec:
    """One vision transformer.

    width D, depth (blocks), heads, mlp hidden width, patch size and native image size in pixels.
    """

    family: Literal["dinov2", "clip"]
    width: int
    depth: int
    heads: int
    mlp_width: int
    patch_size: int
    native_size: int
    registers: int = 0
    mlp: Literal["mlp", "swiglu"] = "mlp"
    activation: Literal["gelu", "quick_gelu"] = "gelu"
    norm_eps: float = 1e-6
    projection: int | None = None
    stats: ImageStats = IMAGENET

    @property
    def layer_scale(self) -> bool:
        return self.family == "dinov2"

    @property
    def pre_norm(self) -> bool:
        """CLIP normalises the tokens once before the first block."""
        return self.family == "clip"

    @property
    def patch_bias(self) -> bool:
        return self.family == "dinov2"

    @property
    def native_grid(self) -> int:
        return self.native_size // self.patch_size


def _dinov2(
    width: int, depth: int, heads: int, registers: int, mlp: Literal["mlp", "swiglu"] = "mlp", hidden: int | None = None
) -> BackboneSpec:
    return BackboneSpec("dinov2", width, depth, heads, hidden or 4 * width, 14, 518, registers, mlp)


def _clip(width: int, depth: int, heads: int, patch_size: int, projection: int) -> BackboneSpec:
    return BackboneSpec(
        "clip", width, depth, heads, 4 * width, patch_size, 224,
        activation="quick_gelu", norm_eps=1e-5, projection=projection, stats=CLIP,
    )  # fmt: skip


BACKBONES: dict[str, BackboneSpec] = {
    "dinov2_vits14": _dinov2(384, 12, 6, 0),
    "dinov2_vitb14": _dinov2(768, 12, 12, 0),
    "dinov2_vitl14": _dinov2(1024, 24, 16, 0),
    "dinov2_vitg14": _dinov2(1536, 40, 24, 0, "swiglu", 4096),
    "dinov2_vits14_reg4": _dinov2(384, 12, 6, 4),
    "dinov2_vitb14_reg4": _dinov2(768, 12, 12, 4),
    "dinov2_vitl14_reg4": _dinov2(1024, 24, 16, 4),
    "dinov2_vitg14_reg4": _dinov2(1536, 40, 24, 4, "swiglu", 4096),
    "clip_vitb32": _clip(768, 12, 12, 32, 512),
    "clip_vitb16": _clip(768, 12, 12, 16, 512),
    "clip_vitl14": _clip(1024, 24, 16, 14, 768),
    # The packaged backbone of the demo: 112 px crops, an 8 x 8 grid.
    "demo": BackboneSpec("dinov2", 128, 4, 4, 512, 14, 112, stats=HALF),
}


def backbone_spec(name: str) -> BackboneSpec:
    """The row of `name`; raises InputError naming the known ones."""
    try:
        return BACKBONES[name]
    except KeyError:
        known = ", ".join(sorted(BACKBONES))
        raise InputError(f"backbone.name: {name!r} is not known; expected one of {known}") from None
