# SPDX-License-Identifier: Apache-2.0
"""From the setting `backbone.weights` to parameters at the size that a run uses."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.resources
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import jax
import ml_dtypes  # noqa: F401  (teaches NumPy the name "bfloat16")
import numpy as np
from numpy.typing import DTypeLike

from adaptface_jax.core.errors import InputError
from adaptface_jax.models import vit
from adaptface_jax.models.positions import placed
from adaptface_jax.models.specs import ROTARY, BackboneSpec, ImageStats, backbone_spec, check_size
from adaptface_jax.weights import hub
from adaptface_jax.weights.folder import Weights, check_name, converted_name, is_converted, read_folder
from adaptface_jax.weights.formats.reader import open_weights
from adaptface_jax.weights.names import engine
from adaptface_jax.weights.names.differences import listed
from adaptface_jax.weights.settings import Settled, settle

BUILTIN = "builtin"


@dataclasses.dataclass(frozen=True)
class Backbone:
    """params: nested dict of NumPy arrays, the tree of `vit.definition(spec, image_size)`.

    identity: name, source, sha256 (None: random), position_rule, image_statistics {mean, std}, activation.
    remarks: what was assumed or set aside when reading it, to be displayed.
    """

    spec: BackboneSpec
    params: dict[str, Any]
    identity: dict[str, Any]
    remarks: tuple[str, ...] = ()


def load_backbone(
    weights: str,
    name: str,
    image_size: int,
    dtype: DTypeLike = np.float32,
    feature: str = "cls",
    seed: int = 0,
) -> Backbone:
    """The backbone `name`, positions resampled to image_size // patch, every leaf in `dtype`.

    weights: a converted folder, a folder or file of published weights, a hub id, "builtin" (demo only) or ""
    (random values from `seed`). The projection is kept only if `feature` is "projected".
    Raises InputError for weights that are not of `name`, and for a size or feature that they do not support.
    """
    spec = backbone_spec(name)
    check_size("backbone.image_size", image_size, name, spec)
    found, remarks = (_random(name, spec, seed), ()) if weights == "" else read_backbone(weights, name)
    tree, spec = dict(found.tree), found.spec
    if feature == "projected" and "projection" not in tree:
        raise InputError(f"backbone.feature: {weights or name} has no projection; use 'cls'")
    if feature == "cls" and tree.pop("projection", None) is not None:
        spec = dataclasses.replace(spec, projection=None)
    tree = placed(tree, spec, image_size, found.position_rule)
    return Backbone(spec, jax.tree.map(lambda leaf: np.asarray(leaf, dtype), tree), found.identity(), remarks)


@dataclasses.dataclass(frozen=True)
class Published:
    """Weights as published by their project: how they were recognized, and the settings read along with them."""

    weights: Weights
    fit: engine.Fit
    settled: Settled

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was assumed, set aside and ignored, one line each."""
        settled, spec = self.settled, self.weights.spec
        assumed = [
            f"{what} {value} ({why})"
            for what, value, why in (
                ("activation", spec.activation, settled.activation_from),
                ("image statistics", f"mean {spec.stats.mean}, std {spec.stats.std}", settled.statistics_from),
            )
            if why.startswith("assumed")
        ]
        aside = [f"set aside: {listed(self.fit.aside)}"] if self.fit.aside else []
        channels = [f"channels {settled.channels}"] if settled.bgr else []
        return (*assumed, *channels, *aside, *(f"unknown, ignored: {setting}" for setting in settled.unknown))


def read_weights(
    path: Path,
    source: str,
    wanted: str | None = None,
    position_rule: str | None = None,
    activation: str | None = None,
    statistics: ImageStats | None = None,
    under: str | None = None,
) -> Published:
    """Published weights, a file or a folder, recognized by the table and the known backbone that match exactly.

    `source` is their name in the identity; `position_rule`, `activation` and `statistics` override the files; `under`
    names the module that holds the tower, if there are several. Raises InputError if no table matches, if settings next
    to the weights contradict the backbone found, if nothing determines the activation, and if the backbone is not
    `wanted`.
    """
    tensors = open_weights(path)
    fit = engine.without_classifier(engine.identify(tensors.shapes, path, wanted, under), tensors)
    check_name(path, fit.name, wanted)
    if position_rule is not None and fit.spec.rotary:
        raise InputError(f"--position_rule: {fit.name} has no position table to resize; omit it")
    settled = settle(fit.spec, fit.name, fit.table, tensors.container, path, activation, statistics)
    tree = engine.to_tree(fit, tensors, path)
    weights = Weights(
        name=fit.name,
        spec=settled.spec,
        tree=_for_rgb(tree) if settled.bgr else tree,
        source=source,
        sha256=tensors.sha256(),
        position_rule=position_rule or fit.table.position_rule(fit.spec),
    )
    return Published(weights, fit, settled)


def _for_rgb(tree: dict[str, Any]) -> dict[str, Any]:
    """A tree for BGR images, for RGB ones: its patch embedding, [P P 3, D], with the channels in the other order."""
    kernel = tree["patch_embed"]["kernel"]
    turned = kernel.reshape(-1, 3, kernel.shape[-1])[:, ::-1].reshape(kernel.shape)
    return {**tree, "patch_embed": {**tree["patch_embed"], "kernel": turned}}


def inspect_backbone(weights: str) -> str:
    """The known backbone to which these weights belong (as for `load_backbone`, but not random), without reading them.

    Raises InputError if there are none, or their backbone is unknown.
    """
    if weights == "":
        raise InputError("backbone: names no weights; give a converted folder, a local file, a hub id or builtin")
    path = _locate(weights)
    return converted_name(path) if is_converted(path) else engine.identify(open_weights(path).shapes, path).name


def _locate(weights: str) -> Path:
    if weights == BUILTIN:
        return Path(str(importlib.resources.files("adaptface_jax") / "assets" / "demo_backbone"))
    return hub.resolve(weights)


def read_backbone(weights: str, name: str | None = None) -> tuple[Weights, tuple[str, ...]]:
    """A complete backbone at its native size, from what `backbone.weights` may name (but not random), with remarks.

    Raises InputError if it is not a backbone, or not `name`.
    """
    if weights == BUILTIN and name not in (None, "demo"):
        raise InputError(f"backbone.weights: builtin is the demo backbone, not {name}; give converted weights")
    path = _locate(weights)
    if is_converted(path):
        return read_folder(path, name), ()
    published = read_weights(path, weights, name)
    return published.weights, published.remarks


def _random(name: str, spec: BackboneSpec, seed: int) -> Weights:
    with _on_host():
        tree = jax.tree.map(np.asarray, vit.random_params(spec, spec.native_size, seed))
    return Weights(name, spec, tree, "random", None, ROTARY if spec.rotary else "bicubic")


def _on_host() -> AbstractContextManager[object]:
    """Creates arrays on the host, as they may exceed an accelerator's memory; on the latter if jax excludes the CPU."""
    try:
        return jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:
        return contextlib.nullcontext()
