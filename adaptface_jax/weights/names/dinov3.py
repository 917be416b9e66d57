"""DINOv3's names in Hugging Face (`DINOv3ViTModel`), its authors' code (facebookresearch/dinov3) and timm (`Eva`)."""

from __future__ import annotations

import dataclasses

from adaptface_jax.models.specs import ROTARY, BackboneSpec
from adaptface_jax.weights.names.tables import Row, Table, dropped, linear, norm, prefixed
from adaptface_jax.weights.names.transforms import PATCHES, TRANSPOSED, WITHOUT_KEY, Shape

_QKV, _QV = "blocks/attn/qkv", "blocks/attn/qv/bias"


def _token(spec: BackboneSpec) -> Shape:
    return 1, 1, spec.width


def _flat_token(spec: BackboneSpec) -> Shape:
    return 1, spec.width


def _hf(layer: str) -> tuple[Row, ...]:
    return (
        Row("embeddings.cls_token", "cls_token"),
        Row("embeddings.mask_token", None, optional=True, zeros=_token),  # only its pre-training uses it
        Row("embeddings.register_tokens", "register_tokens"),
        Row("embeddings.patch_embeddings.weight", "patch_embed/kernel", PATCHES),
        Row("embeddings.patch_embeddings.bias", "patch_embed/bias"),
        *prefixed(
            layer,
            (
                *norm("norm1", "blocks/norm1"),
                Row("attention.q_proj.weight", f"{_QKV}/kernel", TRANSPOSED, (0, 3)),
                Row("attention.q_proj.bias", _QV, part=(0, 2)),
                Row("attention.k_proj.weight", f"{_QKV}/kernel", TRANSPOSED, (1, 3)),
                Row("attention.v_proj.weight", f"{_QKV}/kernel", TRANSPOSED, (2, 3)),
                Row("attention.v_proj.bias", _QV, part=(1, 2)),
                *linear("attention.o_proj", "blocks/attn/proj"),
                Row("layer_scale1.lambda1", "blocks/scale1/gamma"),
                *norm("norm2", "blocks/norm2"),
                *linear("mlp.up_proj", "blocks/mlp/fc1", mlp="mlp"),
                *linear("mlp.gate_proj", "blocks/mlp/fc1", part=(0, 2), mlp="swiglu"),
                *linear("mlp.up_proj", "blocks/mlp/fc1", part=(1, 2), mlp="swiglu"),
                *linear("mlp.down_proj", "blocks/mlp/fc2"),
                Row("layer_scale2.lambda1", "blocks/scale2/gamma"),
            ),
        ),
        *norm("norm", "norm"),
    )


HF_DINOV3 = Table("hf_dinov3", "dinov3", "hf", _hf("layer.{i}."), ROTARY, ROTARY, "gelu")
# The module names in transformers 5; `save_pretrained` still writes the names above.
HF_DINOV3_MODULES = dataclasses.replace(HF_DINOV3, name="hf_dinov3_modules", rows=_hf("model.layer.{i}."))


def _vit(registers: str, *block: Row) -> tuple[Row, ...]:
    return (
        Row("cls_token", "cls_token"),
        Row(registers, "register_tokens"),
        Row("patch_embed.proj.weight", "patch_embed/kernel", PATCHES),
        Row("patch_embed.proj.bias", "patch_embed/bias"),
        *norm("norm", "norm"),
        *prefixed(
            "blocks.{i}.",
            (
                *norm("norm1", "blocks/norm1"),
                Row("attn.qkv.weight", f"{_QKV}/kernel", TRANSPOSED),
                *linear("attn.proj", "blocks/attn/proj"),
                *norm("norm2", "blocks/norm2"),
                *linear("mlp.fc1", "blocks/mlp/fc1", mlp="mlp"),
                *linear("mlp.fc2", "blocks/mlp/fc2", mlp="mlp"),
                *block,
            ),
        ),
    )


HUB_DINOV3 = Table(
    "hub_dinov3", "dinov3", "dinov2",
    (
        *_vit(
            "storage_tokens",
            Row("attn.qkv.bias", _QV, WITHOUT_KEY),
            *dropped("attn.qkv.bias_mask"),  # for the keys' bias
            Row("ls1.gamma", "blocks/scale1/gamma"),
            Row("ls2.gamma", "blocks/scale2/gamma"),
            *linear("mlp.w1", "blocks/mlp/fc1", part=(0, 2), mlp="swiglu"),
            *linear("mlp.w2", "blocks/mlp/fc1", part=(1, 2), mlp="swiglu"),
            *linear("mlp.w3", "blocks/mlp/fc2", mlp="swiglu"),
        ),
        Row("mask_token", None, optional=True, zeros=_flat_token),
        # 1 / the frequencies of its positions; and the norm for the local crops in training.
        *dropped("rope_embed.periods", "local_cls_norm.weight", "local_cls_norm.bias"),
    ),
    ROTARY, ROTARY, "gelu",
)  # fmt: skip

TIMM_DINOV3 = Table(
    "timm_dinov3", "dinov3", "timm",
    _vit(
        "reg_token",
        # They are zero in the published weights, so timm omits them unless its name has `qkvb`.
        Row("attn.q_bias", _QV, part=(0, 2), optional=True),
        Row("attn.v_bias", _QV, part=(1, 2), optional=True),
        Row("gamma_1", "blocks/scale1/gamma"),
        Row("gamma_2", "blocks/scale2/gamma"),
        *linear("mlp.fc1_g", "blocks/mlp/fc1", part=(0, 2), mlp="swiglu"),
        *linear("mlp.fc1_x", "blocks/mlp/fc1", part=(1, 2), mlp="swiglu"),
        *linear("mlp.fc2", "blocks/mlp/fc2", mlp="swiglu"),
    ),
    ROTARY, ROTARY, "gelu",
)  # fmt: skip
