"""A whole backbone as plain Hugging Face weights: nothing of this package is needed to use them.

Source of the layout: transformers (`Dinov2Model`, `Dinov2WithRegistersModel`, `CLIPVisionModel`,
`CLIPVisionModelWithProjection`); versions 4 and 5 both load the names of version 4, which both write.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax

from adaptface_jax.core import trees
from adaptface_jax.export.record import write_json
from adaptface_jax.models.recognizer import built_spec
from adaptface_jax.models.specs import BackboneSpec, ImageStats
from adaptface_jax.weights.formats.reader import SINGLE
from adaptface_jax.weights.formats.safetensors_files import write_file
from adaptface_jax.weights.names.dialects import HF_CLIP, HF_DINOV2
from adaptface_jax.weights.names.engine import to_names


@dataclasses.dataclass(frozen=True)
class Tower:
    """spec, params: as of `weights.loading.Backbone`, positions at image_size. feature: "cls" or "projected"."""

    spec: BackboneSpec
    params: dict[str, Any]
    image_size: int
    feature: str


def model_class(spec: BackboneSpec, feature: str) -> str:
    """The class of transformers that gives our feature."""
    if spec.family == "clip":
        return "CLIPVisionModelWithProjection" if feature == "projected" else "CLIPVisionModel"
    return "Dinov2WithRegistersModel" if spec.registers else "Dinov2Model"


def write_tower(out: Path, tower: Tower) -> str:
    """Write model.safetensors, config.json and preprocessor_config.json into the folder `out`; what was written."""
    # No source's rule of resizing positions matters at the size that they have.
    spec = dataclasses.replace(built_spec(tower.spec, tower.feature), native_size=tower.image_size)
    name = model_class(spec, tower.feature)
    tensors = to_names(HF_CLIP if spec.family == "clip" else HF_DINOV2, spec, jax.device_get(tower.params))
    out.mkdir(parents=True, exist_ok=True)
    write_file(out / SINGLE, tensors)
    write_json(out / "config.json", {"architectures": [name], **hf_config(spec)})
    write_json(out / "preprocessor_config.json", hf_preprocessor(tower.image_size, spec.stats))
    what = f"{len(tensors)} tensors, {trees.count(tower.params):,} parameters in float32"
    return f"{name} at {tower.image_size} px, {what}"


def hf_config(spec: BackboneSpec) -> dict[str, Any]:
    """config.json of transformers for a tower whose native size is the one it is used at."""
    common = {
        "hidden_size": spec.width,
        "num_hidden_layers": spec.depth,
        "num_attention_heads": spec.heads,
        "image_size": spec.native_size,
        "patch_size": spec.patch_size,
        "num_channels": 3,
        "hidden_act": spec.activation,
        "layer_norm_eps": spec.norm_eps,
    }
    if spec.family == "clip":
        projection = {} if spec.projection is None else {"projection_dim": spec.projection}
        return {"model_type": "clip_vision_model", **common, "intermediate_size": spec.mlp_width, **projection}
    swiglu = spec.mlp == "swiglu"
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
    """preprocessor_config.json: whole images to size x size, bicubic as ours, then the backbone's statistics."""
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
