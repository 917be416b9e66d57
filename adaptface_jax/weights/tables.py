"""Name tables: one row per tensor name, and where it goes in our tree.

A new layout is a new table here; `engine` needs no change. Names as found in the published files and written by
transformers 4 and 5 (`Dinov2Model`, `Dinov2WithRegistersModel`, `CLIPModel` and its vision towers).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal

from adaptface_jax.specs import BackboneSpec
from adaptface_jax.weights.transforms import PATCHES, SAME, SQUEEZED, TRANSPOSED, Transform


@dataclasses.dataclass(frozen=True)
class Row:
    """One tensor name and its place.

    name: as in the file; `{i}` stands for the block's number, `*` for any one dotted part, `**` for any rest.
    path: the leaf in our tree, depth axis in front where the name has `{i}`; None for what is known and dropped.
    part: (k, n): the tensor is the k-th of n equal slices of the leaf's last axis.
    mlp: the row holds only for backbones with this kind of MLP.
    optional: the file may lack it.
    """

    name: str
    path: str | None
    transform: Transform = SAME
    part: tuple[int, int] = (0, 1)
    mlp: Literal["mlp", "swiglu"] | None = None
    optional: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """One dialect: its rows, and the rule by which its source resizes positions (without and with registers)."""

    name: str
    family: Literal["dinov2", "clip"]
    rows: tuple[Row, ...]
    rule: str
    rule_with_registers: str

    def position_rule(self, spec: BackboneSpec) -> str:
        """A key of `specs.POSITION_RULES`."""
        return self.rule_with_registers if spec.registers else self.rule


def linear(name: str, path: str, **more: Any) -> tuple[Row, Row]:
    """The two rows of a torch.nn.Linear."""
    return (
        Row(f"{name}.weight", f"{path}/kernel", TRANSPOSED, **more),
        Row(f"{name}.bias", f"{path}/bias", **more),
    )


def norm(name: str, path: str) -> tuple[Row, Row]:
    """The two rows of a torch.nn.LayerNorm."""
    return Row(f"{name}.weight", f"{path}/scale"), Row(f"{name}.bias", f"{path}/bias")


def prefixed(prefix: str, rows: Iterable[Row]) -> tuple[Row, ...]:
    """The same rows under a module's name."""
    return tuple(dataclasses.replace(row, name=prefix + row.name) for row in rows)


_DINOV2_BLOCK = prefixed(
    "encoder.layer.{i}.",
    (
        *norm("norm1", "blocks/norm1"),
        *linear("attention.attention.query", "blocks/attn/qkv", part=(0, 3)),
        *linear("attention.attention.key", "blocks/attn/qkv", part=(1, 3)),
        *linear("attention.attention.value", "blocks/attn/qkv", part=(2, 3)),
        *linear("attention.output.dense", "blocks/attn/proj"),
        Row("layer_scale1.lambda1", "blocks/scale1/gamma"),
        *norm("norm2", "blocks/norm2"),
        *linear("mlp.fc1", "blocks/mlp/fc1", mlp="mlp"),
        *linear("mlp.fc2", "blocks/mlp/fc2", mlp="mlp"),
        *linear("mlp.weights_in", "blocks/mlp/fc1", mlp="swiglu"),
        *linear("mlp.weights_out", "blocks/mlp/fc2", mlp="swiglu"),
        Row("layer_scale2.lambda1", "blocks/scale2/gamma"),
    ),
)

_DINOV2 = (
    Row("embeddings.cls_token", "cls_token"),
    Row("embeddings.mask_token", None),  # only its pre-training uses it
    Row("embeddings.register_tokens", "register_tokens"),
    Row("embeddings.position_embeddings", "pos_embed"),
    Row("embeddings.patch_embeddings.projection.weight", "patch_embed/kernel", PATCHES),
    Row("embeddings.patch_embeddings.projection.bias", "patch_embed/bias"),
    *_DINOV2_BLOCK,
    *norm("layernorm", "norm"),
)

_CLIP_BLOCK = prefixed(
    "encoder.layers.{i}.",
    (
        *norm("layer_norm1", "blocks/norm1"),
        *linear("self_attn.q_proj", "blocks/attn/qkv", part=(0, 3)),
        *linear("self_attn.k_proj", "blocks/attn/qkv", part=(1, 3)),
        *linear("self_attn.v_proj", "blocks/attn/qkv", part=(2, 3)),
        *linear("self_attn.out_proj", "blocks/attn/proj"),
        *norm("layer_norm2", "blocks/norm2"),
        *linear("mlp.fc1", "blocks/mlp/fc1"),
        *linear("mlp.fc2", "blocks/mlp/fc2"),
    ),
)

_CLIP = (
    Row("embeddings.class_embedding", "cls_token", SQUEEZED),
    Row("embeddings.position_embedding.weight", "pos_embed", SQUEEZED),
    Row("embeddings.position_ids", None),  # 0, 1, 2, ... in older files
    Row("embeddings.patch_embedding.weight", "patch_embed/kernel", PATCHES),
    *norm("pre_layrnorm", "pre_norm"),
    *_CLIP_BLOCK,
    *norm("post_layernorm", "norm"),
)

_CLIP_PROJECTION = Row("visual_projection.weight", "projection/kernel", TRANSPOSED, optional=True)
_TEXT_TOWER = (Row("text_model.**", None), Row("text_projection.weight", None), Row("logit_scale", None))

_HF_RULES = ("bicubic", "bicubic_antialias")

TABLES: tuple[Table, ...] = (
    Table("hf_dinov2", "dinov2", _DINOV2, *_HF_RULES),
    Table("hf_dinov2 under dinov2.", "dinov2", (*prefixed("dinov2.", _DINOV2), Row("classifier.*", None)), *_HF_RULES),
    Table(
        "hf_dinov2_with_registers under dinov2_with_registers.",
        "dinov2",
        (*prefixed("dinov2_with_registers.", _DINOV2), Row("classifier.*", None)),
        *_HF_RULES,
    ),
    Table("hf_clip", "clip", (*prefixed("vision_model.", _CLIP), _CLIP_PROJECTION, *_TEXT_TOWER), *_HF_RULES),
    Table("hf_clip without vision_model.", "clip", (*_CLIP, _CLIP_PROJECTION), *_HF_RULES),
)
