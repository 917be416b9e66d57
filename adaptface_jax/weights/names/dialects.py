"""Every published naming of a vision tower, as tables: DINOv2 and CLIP here, the others in neighboring files.

Whatever surrounds a tower (`module.`, `visual.`, `teacher.backbone.`, heads) does not belong here: see `wrappers`.
Names as found in the published files, in the sources of their projects (facebookresearch/dinov2, openai/CLIP,
mlfoundations/open_clip, timm) and as written by transformers 4 and 5 (`Dinov2Model`, `Dinov2WithRegistersModel`,
`CLIPModel` and its vision towers).
"""

from __future__ import annotations

import dataclasses

from adaptface_jax.models.specs import BackboneSpec
from adaptface_jax.weights.names.dinov3 import HF_DINOV3, HF_DINOV3_MODULES, HUB_DINOV3, TIMM_DINOV3
from adaptface_jax.weights.names.faces import INSIGHTFACE
from adaptface_jax.weights.names.siglip import HF_SIGLIP, TIMM_SIGLIP, TRUNK_SIGLIP
from adaptface_jax.weights.names.tables import Row, Table, dropped, linear, norm, prefixed
from adaptface_jax.weights.names.transforms import PATCHES, SAME, SQUEEZED, TRANSPOSED, WITHOUT_CLS, Shape

_QKV = "blocks/attn/qkv"


def _mask_token(spec: BackboneSpec) -> Shape:
    return 1, spec.width


def _projected(spec: BackboneSpec) -> Shape:
    return (spec.projection or 0,)


# Hugging Face, DINOv2.


def _hf_dinov2(block: tuple[Row, ...]) -> tuple[Row, ...]:
    return (
        Row("embeddings.cls_token", "cls_token"),
        Row("embeddings.mask_token", None, optional=True, zeros=_mask_token),  # only its pre-training uses it
        Row("embeddings.register_tokens", "register_tokens"),
        Row("embeddings.position_embeddings", "pos_embed"),
        Row("embeddings.patch_embeddings.projection.weight", "patch_embed/kernel", PATCHES),
        Row("embeddings.patch_embeddings.projection.bias", "patch_embed/bias"),
        *prefixed(
            "encoder.layer.{i}.",
            (
                *norm("norm1", "blocks/norm1"),
                Row("layer_scale1.lambda1", "blocks/scale1/gamma"),
                *norm("norm2", "blocks/norm2"),
                *linear("mlp.fc1", "blocks/mlp/fc1", mlp="mlp"),
                *linear("mlp.fc2", "blocks/mlp/fc2", mlp="mlp"),
                Row("layer_scale2.lambda1", "blocks/scale2/gamma"),
                *block,
            ),
        ),
        *norm("layernorm", "norm"),
    )


_ON_DISK = (
    *linear("attention.attention.query", _QKV, part=(0, 3)),
    *linear("attention.attention.key", _QKV, part=(1, 3)),
    *linear("attention.attention.value", _QKV, part=(2, 3)),
    *linear("attention.output.dense", "blocks/attn/proj"),
    *linear("mlp.weights_in", "blocks/mlp/fc1", mlp="swiglu"),
    *linear("mlp.weights_out", "blocks/mlp/fc2", mlp="swiglu"),
)
_IN_MEMORY = (
    *linear("attention.q_proj", _QKV, part=(0, 3)),
    *linear("attention.k_proj", _QKV, part=(1, 3)),
    *linear("attention.v_proj", _QKV, part=(2, 3)),
    *linear("attention.o_proj", "blocks/attn/proj"),
    *linear("mlp.gate_proj", "blocks/mlp/fc1", part=(0, 2), mlp="swiglu"),
    *linear("mlp.up_proj", "blocks/mlp/fc1", part=(1, 2), mlp="swiglu"),
    *linear("mlp.down_proj", "blocks/mlp/fc2", mlp="swiglu"),
)

HF_DINOV2 = Table("hf_dinov2", "dinov2", "hf", _hf_dinov2(_ON_DISK), "bicubic", "bicubic_antialias", "gelu")
# transformers since 5.18 renames its modules; `save_pretrained` still writes the names above.
HF_DINOV2_MODULES = dataclasses.replace(HF_DINOV2, name="hf_dinov2_modules", rows=_hf_dinov2(_IN_MEMORY))

# The original DINOv2, and timm's naming, which differs little from it.


def _vit_block(name: str, *more: Row) -> tuple[Row, ...]:
    return prefixed(
        name,
        (
            *norm("norm1", "blocks/norm1"),
            *linear("attn.qkv", _QKV),
            *linear("attn.proj", "blocks/attn/proj"),
            *norm("norm2", "blocks/norm2"),
            *more,
        ),
    )


def _dinov2_block(name: str, *mlp: Row) -> tuple[Row, ...]:
    scales = Row("ls1.gamma", "blocks/scale1/gamma"), Row("ls2.gamma", "blocks/scale2/gamma")
    return _vit_block(name, *scales, *mlp)


_MLP = (*linear("mlp.fc1", "blocks/mlp/fc1"), *linear("mlp.fc2", "blocks/mlp/fc2"))
_MLP_OR_SWIGLU = (
    *linear("mlp.fc1", "blocks/mlp/fc1", mlp="mlp"),
    *linear("mlp.fc2", "blocks/mlp/fc2", mlp="mlp"),
    *linear("mlp.w12", "blocks/mlp/fc1", mlp="swiglu"),
    *linear("mlp.w3", "blocks/mlp/fc2", mlp="swiglu"),
)
_PATCH_EMBED = (
    Row("patch_embed.proj.weight", "patch_embed/kernel", PATCHES),
    Row("patch_embed.proj.bias", "patch_embed/bias"),
)

_HUB_DINOV2 = (
    Row("cls_token", "cls_token"),
    # Without registers, a file that lacks it is timm's, which resizes positions by another rule.
    Row("mask_token", None, registers=False, zeros=_mask_token),
    Row("mask_token", None, registers=True, optional=True, zeros=_mask_token),
    Row("register_tokens", "register_tokens"),
    Row("pos_embed", "pos_embed"),
    *_PATCH_EMBED,
    *norm("norm", "norm"),
)

HUB_DINOV2 = Table(
    "hub_dinov2", "dinov2", "dinov2", (*_HUB_DINOV2, *_dinov2_block("blocks.{i}.", *_MLP_OR_SWIGLU)), "dinov2",
    "bicubic_antialias", "gelu",
)  # fmt: skip
HUB_DINOV2_CHUNKED = dataclasses.replace(
    HUB_DINOV2,
    name="hub_dinov2_chunked",
    rows=(*_HUB_DINOV2, *_dinov2_block("blocks.{c}.{i}.", *_MLP_OR_SWIGLU)),
)
TIMM_DINOV2 = Table(
    "timm_dinov2", "dinov2", "timm",
    (
        Row("cls_token", "cls_token"),
        Row("reg_token", "register_tokens"),
        Row("pos_embed", "pos_embed", SAME, registers=False),
        Row("pos_embed", "pos_embed", WITHOUT_CLS, registers=True),
        *_PATCH_EMBED,
        *norm("norm", "norm"),
        *_dinov2_block("blocks.{i}.", *_MLP),
    ),
    "bicubic_antialias", "bicubic_antialias", "gelu", folded=True,
)  # fmt: skip

_TIMM_PROJECTION = (
    Row("head.weight", "projection/kernel", TRANSPOSED, optional=True, head=True),
    Row("head.bias", None, optional=True, zeros=_projected, is_zero=True, head=True),
)

TIMM_CLIP = Table(
    "timm_clip", "clip", "timm",
    (
        Row("cls_token", "cls_token"),
        Row("pos_embed", "pos_embed"),
        Row("patch_embed.proj.weight", "patch_embed/kernel", PATCHES),
        *norm("norm_pre", "pre_norm"),
        *_vit_block("blocks.{i}.", *_MLP),
        *norm("norm", "norm"),
        *_TIMM_PROJECTION,
    ),
    "bicubic_antialias", "bicubic_antialias", None,
)  # fmt: skip

# A timm tower in open_clip: with its own projection, or one that open_clip adds.
TRUNK_DINOV2, TRUNK_CLIP = (
    dataclasses.replace(
        table, name=f"{table.name} in open_clip", project="open_clip", rows=prefixed("trunk.", table.rows), trunk=True
    )
    for table in (TIMM_DINOV2, TIMM_CLIP)
)
_BESIDE = (dataclasses.replace(row, name=row.name.replace("head.", "head.proj.")) for row in _TIMM_PROJECTION)
TRUNK_CLIP_PROJECTED = dataclasses.replace(
    TRUNK_CLIP,
    name="timm_clip in open_clip with its projection",
    rows=(*prefixed("trunk.", (row for row in TIMM_CLIP.rows if row not in _TIMM_PROJECTION)), *_BESIDE),
)

# CLIP in the naming of Hugging Face, and of OpenAI, which open_clip kept.

_HF_CLIP = (
    Row("embeddings.class_embedding", "cls_token", SQUEEZED),
    Row("embeddings.position_embedding.weight", "pos_embed", SQUEEZED),
    *dropped("embeddings.position_ids"),  # 0, 1, 2, ... in older files
    Row("embeddings.patch_embedding.weight", "patch_embed/kernel", PATCHES),
    *norm("pre_layrnorm", "pre_norm"),
    *prefixed(
        "encoder.layers.{i}.",
        (
            *norm("layer_norm1", "blocks/norm1"),
            *linear("self_attn.q_proj", _QKV, part=(0, 3)),
            *linear("self_attn.k_proj", _QKV, part=(1, 3)),
            *linear("self_attn.v_proj", _QKV, part=(2, 3)),
            *linear("self_attn.out_proj", "blocks/attn/proj"),
            *norm("layer_norm2", "blocks/norm2"),
            *_MLP,
        ),
    ),
    *norm("post_layernorm", "norm"),
)
_HF_PROJECTION = Row("visual_projection.weight", "projection/kernel", TRANSPOSED, optional=True)

HF_CLIP = Table(
    "hf_clip", "clip", "hf",
    (
        *prefixed("vision_model.", _HF_CLIP),
        _HF_PROJECTION,
        *dropped("text_model.**", "text_projection.weight"),
    ),
    "bicubic", "bicubic_antialias", "quick_gelu",
)  # fmt: skip
HF_CLIP_BARE = dataclasses.replace(HF_CLIP, name="hf_clip without vision_model.", rows=(*_HF_CLIP, _HF_PROJECTION))

OPENAI_CLIP = Table(
    "openai_clip", "clip", "open_clip",
    (
        Row("class_embedding", "cls_token", SQUEEZED),
        Row("positional_embedding", "pos_embed", SQUEEZED),
        Row("conv1.weight", "patch_embed/kernel", PATCHES),
        *norm("ln_pre", "pre_norm"),
        *prefixed(
            "transformer.resblocks.{i}.",
            (
                *norm("ln_1", "blocks/norm1"),
                Row("attn.in_proj_weight", f"{_QKV}/kernel", TRANSPOSED),
                Row("attn.in_proj_bias", f"{_QKV}/bias"),
                *linear("attn.out_proj", "blocks/attn/proj"),
                *norm("ln_2", "blocks/norm2"),
                *linear("mlp.c_fc", "blocks/mlp/fc1"),
                *linear("mlp.c_proj", "blocks/mlp/fc2"),
            ),
        ),
        *norm("ln_post", "norm"),
        Row("proj", "projection/kernel", optional=True),
        # With these FaRL predicts masked patches in training.
        *dropped("mask_token", "ln_lm.weight", "ln_lm.bias", "lm_head.weight", "lm_head.bias", "lm_transformer.**"),
    ),
    "bicubic_antialias", "bicubic_antialias", None,
)  # fmt: skip

# If two match a tower equally well, the first is used.
TABLES: tuple[Table, ...] = (
    HF_DINOV2,
    HF_DINOV2_MODULES,
    HF_CLIP,
    HF_CLIP_BARE,
    HUB_DINOV2,
    HUB_DINOV2_CHUNKED,
    TRUNK_DINOV2,
    TRUNK_CLIP,
    TRUNK_CLIP_PROJECTED,
    TIMM_DINOV2,
    TIMM_CLIP,
    OPENAI_CLIP,
    HF_DINOV3,
    HF_DINOV3_MODULES,
    HUB_DINOV3,
    TIMM_DINOV3,
    HF_SIGLIP,
    TRUNK_SIGLIP,
    TIMM_SIGLIP,
    INSIGHTFACE,
)
