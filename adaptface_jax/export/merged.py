"""The adapted backbone as plain Hugging Face weights: LoRA folded in, nothing of this package needed to use them.

Source of the layout: transformers (`Dinov2Model`, `Dinov2WithRegistersModel`, `CLIPVisionModel`,
`CLIPVisionModelWithProjection`); versions 4 and 5 both load the names of version 4, which both write.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors.numpy

from adaptface_jax.config.schema import AdapterConfig
from adaptface_jax.core import trees
from adaptface_jax.core.files import write_text
from adaptface_jax.export.pages import merged_page
from adaptface_jax.export.record import head_lines, model_class, write_head, write_json, write_record
from adaptface_jax.models.adapters import lora
from adaptface_jax.models.recognizer import Recognizer, as_float32
from adaptface_jax.models.settings import router_block
from adaptface_jax.models.specs import BackboneSpec, ImageStats
from adaptface_jax.training.recognition.model import Model
from adaptface_jax.weights.formats.reader import SINGLE
from adaptface_jax.weights.names.dialects import HF_CLIP, HF_DINOV2
from adaptface_jax.weights.names.engine import to_names


def fold(model: Model, mix: Sequence[float] = (1.0,)) -> Model:
    """The same recogniser without an adapter: low-rank updates and trained copies stand in the frozen tree, float32.

    mix: DA-LoRA's fixed weight of each gated expert, [K]; blocks before the router keep their uniform 1/K, which is
    exact.
    """
    recognizer, trainable = model.recognizer, model.trainable
    config = recognizer.config
    tree: Any = trees.overlay(model.frozen.get("backbone", {}), trainable.get("backbone", {}))
    tree = jax.tree.map(as_float32, tree)
    if "adapter" in trainable:
        weights = np.tile(np.asarray(mix, np.float32), (recognizer.spec.depth, 1))
        if recognizer.num_domains:
            weights[: router_block(config.adapter.router) or 0] = 1 / recognizer.num_domains
        tree = lora.merge(tree, trainable["adapter"], lora.scale(config.adapter), weights, lora.shared(config.adapter))
    plain = dataclasses.replace(
        config,
        adapter=AdapterConfig(kind="none"),
        backbone=dataclasses.replace(config.backbone, train_patch_embed=False, dtype="float32"),
    )
    head = {"head": trainable["head"]} if "head" in trainable else {}
    return Model(
        Recognizer(recognizer.spec, plain, np.float32),
        {"backbone": tree},
        head,
        model.identity,
        stored_size=model.stored_size,
    )


def write_merged(model: Model, out: Path, *, mix: Sequence[float] = (1.0,)) -> list[str]:
    """Write the folder `out`; returns lines to print.

    model.safetensors, config.json, preprocessor_config.json: for transformers, positions at the run's image size.
    head.safetensors: weight [E, d] and bias [E] of the embedding head, where the run has one. README.md: how to use
    them. export.json: what this is.
    """
    folded = fold(model, mix)
    recognizer = folded.recognizer
    size, feature = recognizer.config.backbone.image_size, recognizer.config.backbone.feature
    # No source's rule of resizing positions matters then.
    spec = dataclasses.replace(recognizer.built_spec, native_size=size)
    tensors = to_names(HF_CLIP if spec.family == "clip" else HF_DINOV2, spec, jax.device_get(folded.frozen["backbone"]))
    safetensors.numpy.save_file(tensors, out / SINGLE, metadata={"format": "pt"})
    write_json(out / "config.json", {"architectures": [model_class(spec, feature)], **hf_config(spec)})
    write_json(out / "preprocessor_config.json", hf_preprocessor(size, spec.stats))
    write_head(out, folded)
    mixed = {"mix": [float(weight) for weight in mix]} if model.recognizer.num_domains else {}
    write_record(out, "merged", model, **mixed)
    write_text(out / "README.md", merged_page(folded, mixed.get("mix")))
    what = f"{len(tensors)} tensors, {trees.count(folded.frozen):,} parameters in float32"
    return [f"merged: {model_class(spec, feature)} at {size} px, {what}", *head_lines(folded)]


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
