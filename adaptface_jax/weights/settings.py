"""What shapes cannot tell: the settings that each project writes beside its weights, against the row of a backbone.

Hugging Face: config.json and preprocessor_config.json. timm: config.json (with "architecture"). open_clip:
open_clip_config.json. Only those of the project that named the tensors speak of them: a folder may hold one set of
weights in two dialects, and timm computes OpenAI's CLIP with GELU where its architecture does not say quickgelu.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.json_io import read_json
from adaptface_jax.core.text import quoted
from adaptface_jax.models.layers.mlp import ACTIVATIONS
from adaptface_jax.models.specs import BackboneSpec, ImageStats
from adaptface_jax.weights.formats.tensors import Container
from adaptface_jax.weights.names.tables import Table

CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
OPEN_CLIP = "open_clip_config.json"


@dataclasses.dataclass(frozen=True)
class Settled:
    """spec: with the activation and the image statistics of these very weights.

    activation_from: what says so, for people. files: the settings that were read.
    """

    spec: BackboneSpec
    activation_from: str
    files: tuple[Path, ...]


def settle(
    spec: BackboneSpec, name: str, table: Table, container: Container, path: Path, activation: str | None = None
) -> Settled:
    """The row of `name` with what stands beside the weights at `path` (a file or a folder); `activation` wins.

    Raises InputError where the settings contradict the row (the same shapes would compute something else), and where
    nothing tells the activation.
    """
    found = {"hf": _hugging_face, "timm": _timm, "open_clip": _open_clip}.get(table.project, _nothing)(spec, name, path)
    assumed: Any = table.activation  # a key of ACTIVATIONS, from here on
    why = "as every DINOv2" if spec.family == "dinov2" else f"assumed: no {CONFIG} beside the file"
    if table.project == "open_clip" and container == "torchscript":
        assumed, why = "quick_gelu", "as every archive of OpenAI's"
    if activation is not None:
        assumed, why = activation, "as asked for"
    elif found.activation is not None:
        assumed, why = found.activation, found.files[0].name
    elif assumed is None:
        config = OPEN_CLIP if table.project == "open_clip" else CONFIG
        raise InputError(
            f"{path}: nothing tells its activation; put its {config} beside it, or say so when converting: "
            "--activation quick_gelu (OpenAI's own training) or --activation gelu (LAION, DataComp)"
        )
    return Settled(dataclasses.replace(spec, activation=assumed, stats=found.stats or spec.stats), why, found.files)


def image_statistics(where: Path, key: str, mean: Any, std: Any) -> ImageStats:
    """Raises InputError unless both are three finite numbers, the deviations above zero."""
    try:
        (m0, m1, m2), (s0, s1, s2) = ([float(x) for x in values] for values in (mean, std))
        stats = ImageStats((m0, m1, m2), (s0, s1, s2))
        sound = bool(np.isfinite((*stats.mean, *stats.std)).all()) and min(stats.std) > 0
    except (TypeError, ValueError, OverflowError):
        sound = False
    if not sound:
        raise InputError(
            f"{where}: {key} is mean {quoted(mean)}, std {quoted(std)}; expected mean and std of three channels"
        )
    return stats


@dataclasses.dataclass(frozen=True)
class _Found:
    activation: Any = None
    stats: ImageStats | None = None
    files: tuple[Path, ...] = ()


def _nothing(spec: BackboneSpec, name: str, path: Path) -> _Found:
    return _Found()


def _hugging_face(spec: BackboneSpec, name: str, path: Path) -> _Found:
    found = _Found()
    config, preprocessor = _beside(path, CONFIG), _beside(path, PREPROCESSOR)
    if config is not None:
        settings = read_json(config)
        vision = _object(config, settings, "vision_config", settings)
        expected: dict[str, Any] = {"num_attention_heads": spec.heads, "layer_norm_eps": spec.norm_eps}
        if spec.family == "dinov2":
            expected["num_register_tokens"] = spec.registers
        _agree(config, name, vision, expected)
        # The default of a missing entry is that of the family, here as in transformers.
        activation = vision.get("hidden_act", spec.activation)
        if activation not in list(ACTIVATIONS):
            raise InputError(f"{config}: hidden_act is {quoted(activation)}; expected one of {', '.join(ACTIVATIONS)}")
        found = _Found(activation, None, (config,))
    if preprocessor is not None:
        settings = read_json(preprocessor)
        stats = None
        if "image_mean" in settings or "image_std" in settings:
            mean, std = settings.get("image_mean"), settings.get("image_std")
            stats = image_statistics(preprocessor, "image_mean and image_std", mean, std)
        found = _Found(found.activation, stats, (*found.files, preprocessor))
    return found


def _timm(spec: BackboneSpec, name: str, path: Path) -> _Found:
    config = _beside(path, CONFIG)
    settings = {} if config is None else read_json(config)
    architecture = settings.get("architecture")
    if config is None or not isinstance(architecture, str):
        return _Found()
    facts: dict[str, Any] = {"family": "clip" if "clip" in architecture else "dinov2"}
    if patch := re.search(r"patch(\d{1,3})(?!\d)", architecture):
        facts["patch_size"] = int(patch[1])
    registers = re.search(r"_reg(\d{1,3})(?!\d)", architecture)
    facts["registers"] = int(registers[1]) if registers else 0
    for key, value in facts.items():
        if value != getattr(spec, key):
            raise InputError(
                f"{config}: architecture is {quoted(architecture)}, but {name}, whose shapes these are, has {key} "
                f"{getattr(spec, key)}; take the config of these weights"
            )
    details = _object(config, settings, "pretrained_cfg", {})
    activation = "quick_gelu" if "_quickgelu_" in architecture else "gelu"
    return _Found(activation, _mean_and_std(config, "pretrained_cfg", details), (config,))


def _open_clip(spec: BackboneSpec, name: str, path: Path) -> _Found:
    config = _beside(path, OPEN_CLIP)
    if config is None:
        return _Found()
    settings = read_json(config)
    model = _object(config, settings, "model_cfg", {})
    vision = _object(config, model, "vision_cfg", {})
    width, patch, size = spec.width, spec.patch_size, spec.native_size
    _agree(config, name, vision, {"layers": spec.depth, "width": width, "patch_size": patch, "image_size": size})
    if vision.get("head_width", 64) != spec.width // spec.heads:
        raise InputError(
            f"{config}: head_width is {quoted(vision.get('head_width', 64))}, but {name}, whose shapes these are, has "
            f"{spec.width // spec.heads}"
        )
    quick = model.get("quick_gelu", False)
    if not isinstance(quick, bool):
        raise InputError(f"{config}: quick_gelu is {quoted(quick)}; expected true or false")
    stats = _mean_and_std(config, "preprocess_cfg", _object(config, settings, "preprocess_cfg", {}))
    return _Found("quick_gelu" if quick else "gelu", stats, (config,))


def _beside(path: Path, name: str) -> Path | None:
    """That file in a folder, or beside a file."""
    file = (path if path.is_dir() else path.parent) / name
    return file if file.is_file() else None


def _object(where: Path, settings: Mapping[str, Any], key: str, default: Mapping[str, Any]) -> Mapping[str, Any]:
    value = settings.get(key, default)
    if not isinstance(value, dict):
        raise InputError(f"{where}: {key} is no object; expected settings by name")
    return value


def _agree(where: Path, name: str, settings: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    for key, value in expected.items():
        if settings.get(key, value) != value:
            raise InputError(
                f"{where}: {key} is {quoted(settings[key])}, but {name}, whose shapes these are, has {value!r}"
            )


def _mean_and_std(where: Path, key: str, settings: Mapping[str, Any]) -> ImageStats | None:
    if "mean" not in settings and "std" not in settings:
        return None
    return image_statistics(where, key, settings.get("mean"), settings.get("std"))
