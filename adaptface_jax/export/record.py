# SPDX-License-Identifier: Apache-2.0
"""What every exported folder has: the model's head, and a record of what it is, without local paths."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import to_json
from adaptface_jax.core.version import __version__
from adaptface_jax.models.specs import BackboneSpec
from adaptface_jax.training.recognition.model import Model
from adaptface_jax.weights.formats.safetensors_files import write_file
from adaptface_jax.weights.hub import is_of_hub, parts_of
from adaptface_jax.weights.peft.names import tower_table
from adaptface_jax.weights.peft.start import HEAD

RECORD = "export.json"


def hub_id(identity: Mapping[str, Any]) -> str | None:
    """The hub id of the backbone's weights, None if they are from elsewhere."""
    return _parts(identity)[0]


def _parts(identity: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The hub id and the revision, None if there is none."""
    source = str(identity["source"])
    return (parts_of(source) if is_of_hub(source) else None) or (None, None)


def loadable_id(identity: Mapping[str, Any], spec: BackboneSpec) -> str | None:
    """`hub_id` if transformers can load that model: its tensors have Hugging Face's names.

    A converted folder does not keep its naming, so its position rule decides, and the owner where timm's rule is the
    same; None if in doubt, and at a revision, which adapters do not name.
    """
    found, revision = _parts(identity)
    theirs = tower_table(spec, "v4").position_rule(spec)
    if found is None or revision is not None or found.startswith("timm/") or identity["position_rule"] != theirs:
        return None
    return found


def source_name(identity: Mapping[str, Any]) -> str:
    """The source of the backbone's weights: a hub id, `builtin`, `random`, or the name of a file or folder."""
    source = str(identity["source"])
    return source if is_of_hub(source) else Path(source).name


def torch_linear(layer: dict[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    """Our {"kernel": [in, out], "bias": [out]} as torch.nn.Linear stores it: weight [out, in]."""
    kernel, bias = (np.asarray(layer[name], np.float32) for name in ("kernel", "bias"))
    return {f"{prefix}weight": np.ascontiguousarray(kernel.T), f"{prefix}bias": bias}


def write_head(out: Path, model: Model) -> None:
    """head.safetensors, if the model has a head."""
    if "head" in model.trainable:
        write_file(out / HEAD, torch_linear(model.trainable["head"]))


def head_lines(model: Model) -> list[str]:
    """The head, as lines to print."""
    if "head" not in model.trainable:
        return ["head: none, the feature is the embedding"]
    return [f"head: {HEAD}, weight {[model.recognizer.embedding_dim, model.recognizer.feature_dim]} and bias"]


def write_record(out: Path, form: str, model: Model, **facts: Any) -> None:
    """export.json: what the folder was made from."""
    settings = model.recognizer.config
    sizes = {"stored_size": model.stored_size, "image_size": settings.backbone.image_size}
    kept = {"feature": settings.backbone.feature, "adapter": settings.adapter.kind}
    write_facts(out, form, model.identity, **sizes, **kept, **facts)


def write_facts(out: Path, form: str, identity: Mapping[str, Any], **facts: Any) -> None:
    """export.json for something less than a full recognizer."""
    record = {"format": form, "backbone": {**identity, "source": source_name(identity)}, **facts}
    write_json(out / RECORD, {**record, "adaptface_jax": __version__})


def write_json(path: Path, value: dict[str, Any]) -> None:
    """An object as an indented JSON file."""
    write_text(path, to_json(value, indent=2) + "\n")
