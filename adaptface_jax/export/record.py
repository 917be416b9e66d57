"""What every exported folder of weights has: the head, and a record of what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import to_json
from adaptface_jax.core.version import __version__
from adaptface_jax.models.specs import BackboneSpec
from adaptface_jax.training.recognition.model import Model
from adaptface_jax.weights.loading import BUILTIN
from adaptface_jax.weights.peft.start import HEAD

RECORD = "export.json"


def model_class(spec: BackboneSpec, feature: str) -> str:
    """The class of transformers that gives our feature."""
    if spec.family == "clip":
        return "CLIPVisionModelWithProjection" if feature == "projected" else "CLIPVisionModel"
    return "Dinov2WithRegistersModel" if spec.registers else "Dinov2Model"


def base_model(model: Model) -> str:
    """Where the backbone's weights are from, for other tools; the demo's are in this package."""
    source = str(model.identity["source"])
    return "adaptface_jax/assets/demo_backbone" if source == BUILTIN else source


def torch_linear(layer: dict[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    """Our {"kernel": [in, out], "bias": [out]} as torch.nn.Linear keeps it: weight [out, in]."""
    kernel, bias = (np.asarray(layer[name], np.float32) for name in ("kernel", "bias"))
    return {f"{prefix}weight": np.ascontiguousarray(kernel.T), f"{prefix}bias": bias}


def write_head(out: Path, model: Model) -> None:
    """head.safetensors, where the model has a head."""
    if "head" in model.trainable:
        safetensors.numpy.save_file(torch_linear(model.trainable["head"]), out / HEAD, metadata={"format": "pt"})


def head_lines(model: Model) -> list[str]:
    """The head, for the terminal."""
    if "head" not in model.trainable:
        return ["head: none, the feature is the embedding"]
    return [f"head: {HEAD}, weight {[model.recognizer.embedding_dim, model.recognizer.feature_dim]} and bias"]


def write_record(out: Path, form: str, model: Model, **facts: Any) -> None:
    """export.json: what the folder was made from."""
    record = {
        "format": form,
        "backbone": model.identity,
        "stored_size": model.stored_size,
        "image_size": model.recognizer.config.backbone.image_size,
        "feature": model.recognizer.config.backbone.feature,
        "adapter": model.recognizer.config.adapter.kind,
        **facts,
        "adaptface_jax": __version__,
    }
    write_json(out / RECORD, record)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """An object as an indented JSON file."""
    write_text(path, to_json(value, indent=2) + "\n")
