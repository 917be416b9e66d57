"""The names of SigLIP's and SigLIP 2's vision towers in Hugging Face (`SiglipVisionModel`), timm and open_clip."""

from __future__ import annotations

import dataclasses

from adaptface_jax.weights.names.tables import Row, Table, dropped, linear, norm, prefixed
from adaptface_jax.weights.names.transforms import PATCHES, SQUEEZED, TRANSPOSED

_QKV = "blocks/attn/qkv"
_MLP = (*linear("mlp.fc1", "blocks/mlp/fc1"), *linear("mlp.fc2", "blocks/mlp/fc2"))
_POOL_MLP = (*linear("mlp.fc1", "pool/mlp/fc1"), *linear("mlp.fc2", "pool/mlp/fc2"))

_HF = (
    Row("embeddings.position_embedding.weight", "pos_embed", SQUEEZED),
    *dropped("embeddings.position_ids"),  # 0, 1, 2, ... in older files
    Row("embeddings.patch_embedding.weight", "patch_embed/kernel", PATCHES),
    Row("embeddings.patch_embedding.bias", "patch_embed/bias"),
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
    *prefixed(
        "head.",
        (
            Row("probe", "pool/probe"),
            Row("attention.in_proj_weight", "pool/qkv/kernel", TRANSPOSED),
            Row("attention.in_proj_bias", "pool/qkv/bias"),
            *linear("attention.out_proj", "pool/proj"),
            *norm("layernorm", "pool/norm"),
            *_POOL_MLP,
        ),
    ),
)

# Full models and transformers 4 have it under `vision_model.`; a `SiglipVisionModel` of transformers 5 does not.
HF_SIGLIP = Table("hf_siglip", "siglip", "hf", _HF, "bicubic", "bicubic", "gelu_tanh")

TIMM_SIGLIP = Table(
    "timm_siglip", "siglip", "timm",
    (
        Row("pos_embed", "pos_embed"),
        Row("patch_embed.proj.weight", "patch_embed/kernel", PATCHES),
        Row("patch_embed.proj.bias", "patch_embed/bias"),
        *prefixed(
            "blocks.{i}.",
            (
                *norm("norm1", "blocks/norm1"),
                *linear("attn.qkv", _QKV),
                *linear("attn.proj", "blocks/attn/proj"),
                *norm("norm2", "blocks/norm2"),
                *_MLP,
            ),
        ),
        *norm("norm", "norm"),
        *prefixed(
            "attn_pool.",
            (
                Row("latent", "pool/probe"),
                *linear("q", "pool/qkv", part=(0, 3)),
                *linear("kv", "pool/qkv", part=(1, 3, 2)),
                *linear("proj", "pool/proj"),
                *norm("norm", "pool/norm"),
                *_POOL_MLP,
            ),
        ),
    ),
    "bicubic_antialias", "bicubic_antialias", None,
)  # fmt: skip
TRUNK_SIGLIP = dataclasses.replace(
    TIMM_SIGLIP, name="timm_siglip in open_clip", project="open_clip", rows=prefixed("trunk.", TIMM_SIGLIP.rows),
    trunk=True,
)  # fmt: skip
