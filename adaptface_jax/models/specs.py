# SPDX-License-Identifier: Apache-2.0
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


ROTARY = "rotary"  # instead of a rule, if there is no position table: nothing is resized
POSITION_RULES = {
    "dinov2": PositionRule(antialias=False, offset=0.1),
    "bicubic": PositionRule(antialias=False),
    "bicubic_antialias": PositionRule(antialias=True),
}


Family = Literal["dinov2", "clip", "dinov3", "siglip", "face"]


@dataclasses.dataclass(frozen=True)
class BackboneSpec:
    """One vision transformer.

    width D, depth (blocks), heads, mlp hidden width, patch size and native image size in pixels. embedding: width of
    a face model's own embedding. unbiased: without the biases of query and value that its family has.
    """

    family: Family
    width: int
    depth: int
    heads: int
    mlp_width: int
    patch_size: int
    native_size: int
    registers: int = 0
    mlp: Literal["mlp", "swiglu"] = "mlp"
    activation: Literal["gelu", "quick_gelu", "gelu_tanh", "relu6"] = "gelu"
    norm_eps: float = 1e-6
    projection: int | None = None
    embedding: int | None = None
    unbiased: bool = False
    stats: ImageStats = IMAGENET

    @property
    def class_token(self) -> bool:
        """Whether there is a class token; otherwise all tokens are pooled."""
        return self.family not in ("siglip", "face")

    @property
    def pooling(self) -> Literal["class", "probe", "flat"]:
        """The class token; attention of a learned probe; a head on all tokens, concatenated."""
        found: dict[Family, Literal["probe", "flat"]] = {"siglip": "probe", "face": "flat"}
        return found.get(self.family, "class")

    @property
    def rotary(self) -> bool:
        """Positions rotate queries and keys; there is no position table."""
        return self.family == "dinov3"

    @property
    def qkv_bias(self) -> Literal["qkv", "qv", ""]:
        """Which of query, key and value have a bias."""
        found: dict[Family, Literal["qv", ""]] = {"dinov3": "qv", "face": ""}
        return "" if self.unbiased else found.get(self.family, "qkv")

    @property
    def layer_scale(self) -> bool:
        return self.family in ("dinov2", "dinov3")

    @property
    def pre_norm(self) -> bool:
        """CLIP normalizes the tokens once before the first block."""
        return self.family == "clip"

    @property
    def patch_bias(self) -> bool:
        return self.family != "clip"

    @property
    def native_grid(self) -> int:
        return self.native_size // self.patch_size

    @property
    def usual_size(self) -> int:
        """The image size in pixels if none is given: the native one, but 224 of DINOv2, whose table is for any size."""
        return min(self.native_size, 224) if self.family == "dinov2" else self.native_size

    @property
    def feature_width(self) -> int:
        """The width of the unprojected feature."""
        return self.embedding or self.width

    def tokens(self, image_size: int) -> int:
        """The number of tokens of an image of that size."""
        return (image_size // self.patch_size) ** 2 + self.class_token + self.registers

    def takes(self, image_size: int) -> bool:
        """Whether patches cover an image of that size; at the native size the source crops what they do not cover."""
        if self.pooling == "flat":
            return image_size == self.native_size
        return image_size > 0 and (image_size % self.patch_size == 0 or image_size == self.native_size)


def _dinov2(
    width: int, depth: int, heads: int, registers: int, mlp: Literal["mlp", "swiglu"] = "mlp", hidden: int | None = None
) -> BackboneSpec:
    return BackboneSpec("dinov2", width, depth, heads, hidden or 4 * width, 14, 518, registers, mlp)


def _clip(
    width: int, depth: int, heads: int, patch_size: int, projection: int, hidden: int | None = None
) -> BackboneSpec:
    return BackboneSpec(
        "clip", width, depth, heads, hidden or 4 * width, patch_size, 224,
        activation="quick_gelu", norm_eps=1e-5, projection=projection, stats=CLIP,
    )  # fmt: skip


def _dinov3(
    width: int, depth: int, heads: int, hidden: int, mlp: Literal["mlp", "swiglu"] = "mlp", unbiased: bool = False
) -> BackboneSpec:
    return BackboneSpec("dinov3", width, depth, heads, hidden, 16, 224, 4, mlp, norm_eps=1e-5, unbiased=unbiased)


def _siglip(width: int, depth: int, heads: int, hidden: int, patch_size: int, native_size: int) -> BackboneSpec:
    return BackboneSpec(
        "siglip", width, depth, heads, hidden, patch_size, native_size, activation="gelu_tanh", stats=HALF
    )


def _face(width: int, depth: int, heads: int, hidden: int, patch_size: int) -> BackboneSpec:
    return BackboneSpec(
        "face", width, depth, heads, hidden, patch_size, 112,
        activation="relu6", norm_eps=1e-5, embedding=512, stats=HALF,
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
    "clip_vith14": _clip(1280, 32, 16, 14, 1024),
    "clip_vitbigg14": _clip(1664, 48, 16, 14, 1280, 8192),
    "dinov3_vits16": _dinov3(384, 12, 6, 1536),
    "dinov3_vits16plus": _dinov3(384, 12, 6, 1536, "swiglu"),
    "dinov3_vitb16": _dinov3(768, 12, 12, 3072),
    "dinov3_vitl16": _dinov3(1024, 24, 16, 4096),
    "dinov3_vitl16plus": _dinov3(1024, 24, 16, 4096, "swiglu"),
    "dinov3_vith16plus": _dinov3(1280, 32, 20, 5120, "swiglu"),
    "dinov3_vit7b16": _dinov3(4096, 40, 32, 8192, "swiglu", unbiased=True),
    # SigLIP and SigLIP 2 alike: they differ in training.
    "siglip_vitb16": _siglip(768, 12, 12, 3072, 16, 224),
    "siglip_vitb32": _siglip(768, 12, 12, 3072, 32, 256),
    "siglip_vitl16": _siglip(1024, 24, 16, 4096, 16, 256),
    "siglip_so400m14": _siglip(1152, 27, 16, 4304, 14, 384),
    "siglip_so400m16": _siglip(1152, 27, 16, 4304, 16, 256),
    "siglip_vitg16": _siglip(1536, 40, 16, 6144, 16, 256),
    # Trained on faces: InsightFace's arcface_torch, and CVLface (AdaFace).
    "insightface_vitt9": _face(256, 12, 8, 1024, 9),
    "insightface_vits9": _face(512, 12, 8, 2048, 9),
    "insightface_vitb9": _face(512, 24, 8, 2048, 9),
    "insightface_vitl9": _face(768, 24, 8, 3072, 9),
    "insightface_vith9": _face(1024, 48, 8, 4096, 9),
    "cvlface_vits8": _face(512, 12, 8, 2560, 8),
    "cvlface_vitb8": _face(512, 24, 16, 1536, 8),
    # The packaged backbone of the demo: 112 px crops, an 8 x 8 grid.
    "demo": BackboneSpec("dinov2", 128, 4, 4, 512, 14, 112, stats=HALF),
}


def check_size(setting: str, size: int, name: str, spec: BackboneSpec) -> None:
    """Raises InputError, naming the setting, if the backbone `name` does not take images of `size` pixels."""
    if spec.takes(size):
        return
    if spec.pooling == "flat":
        raise InputError(f"{setting}: {size} is not {spec.native_size}, the one size that {name} takes")
    raise InputError(
        f"{setting}: {size} is not a multiple of {name}'s patch size {spec.patch_size}; "
        f"the nearest is {max(1, round(size / spec.patch_size)) * spec.patch_size}"
    )


def backbone_spec(name: str) -> BackboneSpec:
    """The row of `name`; raises InputError naming the known ones."""
    try:
        return BACKBONES[name]
    except KeyError:
        known = ", ".join(sorted(BACKBONES))
        raise InputError(f"backbone.name: {name!r} is not known; expected one of {known}") from None
