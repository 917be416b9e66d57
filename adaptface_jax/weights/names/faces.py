"""The names of face ViTs: InsightFace's `arcface_torch`, and CVLface, which kept them (under `net.`)."""

from __future__ import annotations

from adaptface_jax.models.specs import BackboneSpec
from adaptface_jax.weights.names.tables import Row, Table, dropped, linear, norm, prefixed
from adaptface_jax.weights.names.transforms import PATCHES, TRANSPOSED, Shape


def _mask_token(spec: BackboneSpec) -> Shape:
    return 1, 1, spec.width


def _batch_norm(name: str, path: str) -> tuple[Row, ...]:
    return (
        *norm(name, path),
        Row(f"{name}.running_mean", f"{path}/mean"),
        Row(f"{name}.running_var", f"{path}/var"),
        *dropped(f"{name}.num_batches_tracked"),
    )


INSIGHTFACE = Table(
    "insightface", "face", "insightface",
    (
        Row("pos_embed", "pos_embed"),
        Row("mask_token", None, optional=True, zeros=_mask_token),  # for patches masked in training
        Row("patch_embed.proj.weight", "patch_embed/kernel", PATCHES),
        Row("patch_embed.proj.bias", "patch_embed/bias"),
        *prefixed(
            "blocks.{i}.",
            (
                *norm("norm1", "blocks/norm1"),
                Row("attn.qkv.weight", "blocks/attn/qkv/kernel", TRANSPOSED),
                *linear("attn.proj", "blocks/attn/proj"),
                *norm("norm2", "blocks/norm2"),
                *linear("mlp.fc1", "blocks/mlp/fc1"),
                *linear("mlp.fc2", "blocks/mlp/fc2"),
            ),
        ),
        *norm("norm", "norm"),
        Row("feature.0.weight", "pool/fc1/kernel", TRANSPOSED),
        *_batch_norm("feature.1", "pool/norm1"),
        Row("feature.2.weight", "pool/fc2/kernel", TRANSPOSED),
        *_batch_norm("feature.3", "pool/norm2"),
    ),
    "bicubic", "bicubic", "relu6",
)  # fmt: skip
