# SPDX-License-Identifier: Apache-2.0
"""A complete backbone as plain Hugging Face weights: nothing in this package is needed to use them.

Source of the layout: transformers (`Dinov2Model`, `Dinov2WithRegistersModel`, `CLIPVisionModel`,
`CLIPVisionModelWithProjection`, `DINOv3ViTModel`, `SiglipVisionModel`); versions 4 and 5 both load the names of
version 4, which both write. Face ViTs, which it does not know, get InsightFace's names.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax

from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.export.record import write_json
from adaptface_jax.models.recognizer import built_spec
from adaptface_jax.models.specs import BackboneSpec, Family, ImageStats
from adaptface_jax.weights.formats.reader import SINGLE
from adaptface_jax.weights.formats.safetensors_files import write_file
from adaptface_jax.weights.names.dialects import HF_CLIP, HF_DINOV2
from adaptface_jax.weights.names.dinov3 import HF_DINOV3
from adaptface_jax.weights.names.engine import to_names
from adaptface_jax.weights.names.faces import INSIGHTFACE
from adaptface_jax.weights.names.siglip import HF_SIGLIP
from adaptface_jax.weights.names.tables import Table
from adaptface_jax.weights.peft.names import tower_prefix

_TABLES: dict[Family, Table] = {
    "dinov2": HF_DINOV2, "clip": HF_CLIP, "dinov3": HF_DINOV3, "siglip": HF_SIGLIP, "face": INSIGHTFACE,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Tower:
    """spec, params: as in `weights.loading.Backbone`, positions at image_size. feature: "cls" or "projected"."""

    spec: BackboneSpec
    params: dict[str, Any]
    image_size: int
    feature: str


def model_class(spec: BackboneSpec, feature: str) -> str:
    """The transformers class that computes our feature."""
    match spec.family:
        case "clip":
            return "CLIPVisionModelWithProjection" if feature == "projected" else "CLIPVisionModel"
        case "dinov2":
            return "Dinov2WithRegistersModel" if spec.registers else "Dinov2Model"
        case "dinov3":
            return "DINOv3ViTModel"
        case "siglip":
            return "SiglipVisionModel"
    raise InputError("transformers has no class for face ViTs; export with --format=merged, base, onnx or stablehlo")


def write_tower(out: Path, tower: Tower) -> str:
    """Write model.safetensors, config.json and preprocessor_config.json into the folder `out`; what was written.

    For a face ViT only model.safetensors, with its authors' names.
    """
    # At their own size, the rule for resizing positions does not matter.
    spec = dataclasses.replace(built_spec(tower.spec, tower.feature), native_size=tower.image_size)
    tensors = to_names(_TABLES[spec.family], spec, jax.device_get(tower.params))
    if spec.family == "siglip":
        tensors = {tower_prefix(spec, tower.feature, "v4") + key: tensor for key, tensor in tensors.items()}
    out.mkdir(parents=True, exist_ok=True)
    write_file(out / SINGLE, tensors)
    if spec.family == "face":
        name = "InsightFace's VisionTransformer"
    else:
        name = model_class(spec, tower.feature)
        write_json(out / "config.json", {"architectures": [name], **hf_config(spec)})
        write_json(out / "preprocessor_config.json", hf_preprocessor(tower.image_size, spec.stats))
    what = f"{len(tensors)} tensors, {trees.count(tower.params):,} parameters in float32"
    return f"{name} at {tower.image_size} px, {what}"


def hf_config(spec: BackboneSpec) -> dict[str, Any]:
    """config.json of transformers for a tower used at its native size."""
    common = {
        "hidden_size": spec.width,
        "num_hidden_layers": spec.depth,
        "num_attention_heads": spec.heads,
        "image_size": spec.native_size,
        "patch_size": spec.patch_size,
        "num_channels": 3,
        "hidden_act": "gelu_pytorch_tanh" if spec.activation == "gelu_tanh" else spec.activation,
        "layer_norm_eps": spec.norm_eps,
    }
    if spec.family == "clip":
        projection = {} if spec.projection is None else {"projection_dim": spec.projection}
        return {"model_type": "clip_vision_model", **common, "intermediate_size": spec.mlp_width, **projection}
    swiglu = spec.mlp == "swiglu"
    if spec.family == "siglip":
        return {"model_type": "siglip_vision_model", **common, "intermediate_size": spec.mlp_width}
    if spec.family == "dinov3":
        return {
            "model_type": "dinov3_vit",
            **common,
            "hidden_act": "silu" if swiglu else spec.activation,
            "intermediate_size": spec.mlp_width,
            "use_gated_mlp": swiglu,
            "num_register_tokens": spec.registers,
            **(dict.fromkeys(("query_bias", "value_bias"), False) if spec.unbiased else {}),
        }
    return {
        "model_type": "dinov2_with_registers" if spec.registers else "dinov2",
        **common,
        # SwiGLU takes two thirds of it, as transformers computes.
        "mlp_ratio": 4 if swiglu else spec.mlp_width // spec.width,
        "use_swiglu_ffn": swiglu,
        "qkv_bias": True,
        **({"num_register_tokens": spec.registers} if spec.registers else {}),
    }


def hf_preprocessor(size: int, stats: ImageStats) -> dict[str, Any]:
    """preprocessor_config.json: full images resized to size x size, bicubic like ours, then the backbone's
    statistics."""
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": size, "width": size},
        "resample": 3,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(stats.mean),
        "image_std": list(stats.std),
    }
