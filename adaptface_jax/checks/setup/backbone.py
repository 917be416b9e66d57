"""Which backbone this is, and whether its images are prepared as in its own training."""

from __future__ import annotations

import dataclasses

import numpy as np

from adaptface_jax.checks.finding import Finding, note, ok, warning
from adaptface_jax.config.schema import Config
from adaptface_jax.models.specs import BACKBONES
from adaptface_jax.training.recognition.model import Model


def identity(config: Config, model: Model) -> Finding:
    """Name and source; random weights are a warning."""
    found = model.identity
    name = f"{found['name']}, {np.dtype(model.recognizer.dtype).name}"
    if found["source"] == "random":
        says = note if config.adapter.kind == "full" else warning
        return says(
            "weights",
            f"{name}: RANDOM WEIGHTS, nothing pretrained is adapted",
            "name converted weights in backbone.weights (`adaptface convert` makes them)",
        )
    return ok("weights", f"{name}, from {found['source']}, sha256 {found['sha256'][:12]}", **found)


def remarks(model: Model) -> list[Finding]:
    """What was assumed or ignored when reading published weights."""
    settle = "`adaptface convert` prints everything, and its flags set what is assumed"
    return [note("weights as read", remark, settle) for remark in model.remarks]


def statistics(model: Model) -> Finding:
    """The normalization stored with the weights against that of the published model."""
    used, known = model.recognizer.spec.stats, BACKBONES[model.identity["name"]].stats
    shown = f"mean {_values(used.mean)}, std {_values(used.std)}"
    if not np.allclose([used.mean, used.std], [known.mean, known.std], atol=1e-3):
        return warning(
            "image statistics",
            f"{shown}; {model.identity['name']} was published with mean {_values(known.mean)}, "
            f"std {_values(known.std)}",
            "every feature would be shifted: unless these weights were trained that way, convert them again",
            used=dataclasses.asdict(used),
            published=dataclasses.asdict(known),
        )
    return ok("image statistics", shown)


def positions(config: Config, model: Model) -> Finding:
    """The patch grid against the one that the position embedding was trained on."""
    spec = model.recognizer.spec
    grid, native = config.backbone.image_size // spec.patch_size, spec.native_grid
    what = f"{config.backbone.image_size} px, {grid} x {grid} patches"
    if spec.rotary:
        return ok("positions", f"{what}, rotary positions of {spec.family}")
    if grid == native:
        return ok("positions", f"{what}, as trained")
    what += f", resampled from {native} x {native} ({model.identity['position_rule']})"
    if grid < 4:
        return warning("positions", what, "too coarse to see a face: raise backbone.image_size")
    return ok("positions", what)


def _values(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.3f}".rstrip("0") for value in values)
