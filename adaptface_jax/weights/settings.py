"""What shapes cannot tell: the settings that each project writes beside its weights, against the row of a backbone.

Hugging Face: config.json, processor_config.json, preprocessor_config.json. timm: config.json (with "architecture").
open_clip: open_clip_config.json. Only those of the project that named the tensors speak of them: a folder may hold one
set of weights in two dialects, and timm computes OpenAI's CLIP with GELU where its architecture does not say quickgelu.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from adaptface_jax.core.errors import InputError
from adaptface_jax.models.specs import BackboneSpec, Family, ImageStats
from adaptface_jax.weights.beside.hugging_face import CONFIG, read_hugging_face
from adaptface_jax.weights.beside.open_clip import OPEN_CLIP, read_open_clip
from adaptface_jax.weights.beside.rules import Found
from adaptface_jax.weights.beside.timm import read_timm
from adaptface_jax.weights.formats.tensors import Container
from adaptface_jax.weights.names.tables import Table

AS_ASKED = "as asked for"
_STATISTICS: dict[Family, str] = {
    "dinov2": "ImageNet's, as every DINOv2",
    "clip": "those of OpenAI's CLIP",
    "dinov3": "ImageNet's, as every DINOv3 of photographs",
    "siglip": "0.5, as every SigLIP",
    "face": "0.5, as every face ViT of InsightFace and CVLface",
}
# Families of one activation.
_ONE: dict[Family, str] = {"dinov2": "as every DINOv2", "dinov3": "as every DINOv3", "face": "as every face ViT"}


@dataclasses.dataclass(frozen=True)
class Settled:
    """spec: with the activation and the image statistics of these very weights.

    activation_from, statistics_from: what says so, for people. files: the settings that were read. unknown: those of
    them that are not known here, and so passed over.
    """

    spec: BackboneSpec
    activation_from: str
    statistics_from: str
    files: tuple[Path, ...]
    unknown: tuple[str, ...]


def settle(
    spec: BackboneSpec,
    name: str,
    table: Table,
    container: Container,
    path: Path,
    activation: str | None = None,
    statistics: ImageStats | None = None,
) -> Settled:
    """The row of `name` with what stands beside the weights at `path` (a file or a folder).

    `activation` and `statistics` win over the files. Raises InputError if the settings contradict the row (the same
    shapes would compute something else), and where nothing tells the activation.
    """
    found = _beside(spec, name, table, path)
    computed, activation_from = _activation(spec, table, container, path, found, activation)
    if statistics is not None:
        stats, statistics_from = statistics, AS_ASKED
    elif found.stats is not None:
        stats, statistics_from = found.stats, found.stats_from
    else:
        known = _STATISTICS[spec.family]
        stats, statistics_from = spec.stats, f"assumed: {known}; --mean and --std set others"
    settled = dataclasses.replace(spec, activation=computed, stats=stats)
    return Settled(settled, activation_from, statistics_from, found.files, found.unknown)


def _activation(
    spec: BackboneSpec, table: Table, container: Container, path: Path, found: Found, asked: str | None
) -> tuple[Any, str]:
    """A key of ACTIVATIONS, and what says so."""
    if asked is not None:
        return asked, AS_ASKED
    if found.activation is not None:
        return found.activation, found.activation_from
    if table.project == "open_clip" and container == "torchscript":
        return "quick_gelu", "as every archive of OpenAI's"
    if table.activation is None:
        config = OPEN_CLIP if table.project == "open_clip" else CONFIG
        ways = "--activation quick_gelu (OpenAI's own training) or --activation gelu (LAION, DataComp)"
        if spec.family == "siglip":
            ways = "--activation gelu_tanh (SigLIP's own training) or --activation gelu (some of timm's models)"
        raise InputError(
            f"{path}: nothing tells its activation; put its {config} beside it, or say so when converting: {ways}"
        )
    return table.activation, _ONE.get(spec.family, f"assumed: no {CONFIG} beside the file")


def _beside(spec: BackboneSpec, name: str, table: Table, path: Path) -> Found:
    match table.project:
        case "hf":
            return read_hugging_face(spec, name, path)
        case "timm":
            return read_timm(spec, name, path)
        case "open_clip":
            return read_open_clip(spec, name, path, trunk=table.trunk)
    return Found()
