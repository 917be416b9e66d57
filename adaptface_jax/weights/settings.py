# SPDX-License-Identifier: Apache-2.0
"""What shapes do not determine: the settings that each project stores next to its weights, checked against a backbone.

Hugging Face: config.json, processor_config.json, preprocessor_config.json. timm: config.json (with "architecture").
open_clip: open_clip_config.json. CVLface: config.json or model.yaml. Only those of the project that named the tensors
apply: a folder may hold the same weights in two dialects, and timm computes OpenAI's CLIP with GELU unless its
architecture says quickgelu.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any

from adaptface_jax.core.errors import InputError
from adaptface_jax.models.specs import BackboneSpec, Family, ImageStats
from adaptface_jax.weights.formats.tensors import Container
from adaptface_jax.weights.names.tables import Table
from adaptface_jax.weights.sidecar.cvlface import read_cvlface
from adaptface_jax.weights.sidecar.hugging_face import CONFIG, read_hugging_face
from adaptface_jax.weights.sidecar.open_clip import OPEN_CLIP, read_open_clip
from adaptface_jax.weights.sidecar.rules import Found
from adaptface_jax.weights.sidecar.timm import read_timm

AS_ASKED = "as requested"
_STATISTICS: dict[Family, str] = {
    "dinov2": "ImageNet's, as in every DINOv2",
    "clip": "those of OpenAI's CLIP",
    "dinov3": "ImageNet's, as in every DINOv3 for photographs",
    "siglip": "0.5, as in every SigLIP",
    "face": "0.5, as in every face ViT of InsightFace and CVLface, of RGB images",
}
# Families with a single activation.
_ONE: dict[Family, str] = {
    "dinov2": "as in every DINOv2", "dinov3": "as in every DINOv3", "face": "as in every face ViT",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Settled:
    """spec: with the activation and the image statistics of these particular weights.

    activation_from, statistics_from: their origin, to be displayed. bgr: the weights expect BGR. files: the settings
    files that were read. unknown: the settings that are unknown here and therefore ignored.
    """

    spec: BackboneSpec
    activation_from: str
    statistics_from: str
    bgr: bool
    files: tuple[Path, ...]
    unknown: tuple[str, ...]

    @property
    def channels(self) -> str:
        """What happens to their order, to be displayed; empty if nothing."""
        return f"BGR ({self.files[0].name}); the patch embedding is turned to RGB" if self.bgr else ""


def settle(
    spec: BackboneSpec,
    name: str,
    table: Table,
    container: Container,
    path: Path,
    activation: str | None = None,
    statistics: ImageStats | None = None,
) -> Settled:
    """The row of `name` with the settings next to the weights at `path` (a file or a folder).

    `activation` and `statistics` override the files. Raises InputError if the settings contradict the row (the same
    shapes would compute something else), and if nothing determines the activation.
    """
    decided = {what for what, asked in (("activation", activation), ("statistics", statistics)) if asked is not None}
    found = _settings_found(spec, name, table, path, decided)
    computed, activation_from = _activation(spec, table, container, path, found, activation)
    if statistics is not None:
        stats, statistics_from = statistics, AS_ASKED
    elif found.stats is not None:
        stats, statistics_from = found.stats, found.stats_from
    else:
        known = _STATISTICS[spec.family]
        stats, statistics_from = spec.stats, f"assumed: {known}; override with --mean and --std"
    settled = dataclasses.replace(spec, activation=computed, stats=stats)
    return Settled(settled, activation_from, statistics_from, found.bgr, found.files, found.unknown)


def _activation(
    spec: BackboneSpec, table: Table, container: Container, path: Path, found: Found, asked: str | None
) -> tuple[Any, str]:
    """A key of ACTIVATIONS, and its origin."""
    if asked is not None:
        return asked, AS_ASKED
    if found.activation is not None:
        return found.activation, found.activation_from
    if table.project == "open_clip" and container == "torchscript":
        return "quick_gelu", "as in every archive from OpenAI"
    if table.activation is None:
        config = OPEN_CLIP if table.project == "open_clip" else CONFIG
        ways = "--activation quick_gelu (OpenAI's own training) or --activation gelu (LAION, DataComp)"
        if spec.family == "siglip":
            ways = "--activation gelu_tanh (SigLIP's own training) or --activation gelu (some timm models)"
        raise InputError(
            f"{path}: its activation is unknown; put its {config} next to it, or set it when converting: {ways}"
        )
    return table.activation, _ONE.get(spec.family, f"assumed: no {CONFIG} next to the file")


def _settings_found(spec: BackboneSpec, name: str, table: Table, path: Path, decided: Collection[str]) -> Found:
    match table.project:
        case "hf":
            return read_hugging_face(spec, name, path, decided)
        case "timm":
            return read_timm(spec, name, path, decided)
        case "open_clip":
            return read_open_clip(spec, name, path, table.trunk, decided)
        case "insightface":
            return read_cvlface(path)
    return Found()
