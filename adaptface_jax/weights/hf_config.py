"""What shapes cannot tell: a Hugging Face `config.json` against the known row of a backbone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from adaptface_jax.errors import InputError
from adaptface_jax.nn.mlp import ACTIVATIONS
from adaptface_jax.specs import BackboneSpec
from adaptface_jax.weights.reader import read_json

CONFIG = "config.json"


def find_config(path: Path) -> Path | None:
    """The config.json of a folder, or beside a file."""
    config = (path if path.is_dir() else path.parent) / CONFIG
    return config if config.is_file() else None


def apply_config(spec: BackboneSpec, name: str, config: Path) -> BackboneSpec:
    """`spec` with the activation that the config names (CLIP by LAION and DataComp: GELU, by OpenAI: QuickGELU).

    Raises InputError where the config contradicts the row of `name`: the same shapes would compute something else.
    """
    settings = read_json(config)
    vision = settings.get("vision_config", settings)
    if not isinstance(vision, dict):
        raise InputError(f"{config}: vision_config is no object; expected the settings of a CLIP vision tower")
    expected: dict[str, Any] = {"num_attention_heads": spec.heads, "layer_norm_eps": spec.norm_eps}
    if spec.family == "dinov2":
        expected["num_register_tokens"] = spec.registers
    for key, value in expected.items():
        if vision.get(key, value) != value:
            raise InputError(f"{config}: {key} is {vision[key]!r}, but {name}, whose shapes these are, has {value!r}")
    # The default of a missing entry is that of the family, here as in transformers.
    activation = vision.get("hidden_act", spec.activation)
    if activation not in list(ACTIVATIONS):
        raise InputError(f"{config}: hidden_act is {activation!r}; expected one of {', '.join(ACTIVATIONS)}")
    return dataclasses.replace(spec, activation=activation)
