"""From what `backbone.weights` says to parameters at the size that a run uses."""

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
    remarks: what was assumed or put aside in reading it, for people.
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
    (random values from `seed`). The projection is kept only where `feature` is "projected".
    Raises InputError for weights that are not of `name`, and if size or feature do not suit them.
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
    """Weights as their project publishes them: how they were recognized, and what was read beside them."""

    weights: Weights
    fit: engine.Fit
    settled: Settled

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was assumed, put aside and passed over, a line each."""
        settled, spec = self.settled, self.weights.spec
        assumed = [
            f"{what} {value} ({why})"
            for what, value, why in (
                ("activation", spec.activation, settled.activation_from),
                ("image statistics", f"mean {spec.stats.mean}, std {spec.stats.std}", settled.statistics_from),
            )
            if why.startswith("assumed")
        ]
        aside = [f"put aside: {listed(self.fit.aside)}"] if self.fit.aside else []
        return (*assumed, *aside, *(f"not known, passed over: {setting}" for setting in settled.unknown))


def read_weights(
    path: Path,
    source: str,
    wanted: str | None = None,
    position_rule: str | None = None,
    activation: str | None = None,
    statistics: ImageStats | None = None,
    under: str | None = None,
) -> Published:
    """Published weights, a file or a folder, recognized by the table and the known backbone that fit exactly.

    `source` is what the identity calls them; `position_rule`, `activation` and `statistics` win over what the files
    say; `under` names the module that holds the tower, where there are several. Raises InputError if no table fits,
    where settings beside the weights contradict the backbone found, where nothing tells the activation, and where the
    backbone is another one than `wanted`.
    """
    tensors = open_weights(path)
    fit = engine.without_classifier(engine.identify(tensors.shapes, path, wanted, under), tensors)
    check_name(path, fit.name, wanted)
    if position_rule is not None and fit.spec.rotary:
        raise InputError(f"--position_rule: {fit.name} has no table of positions to resize; leave it out")
    settled = settle(fit.spec, fit.name, fit.table, tensors.container, path, activation, statistics)
    weights = Weights(
        name=fit.name,
        spec=settled.spec,
        tree=engine.to_tree(fit, tensors, path),
        source=source,
        sha256=tensors.sha256(),
        position_rule=position_rule or fit.table.position_rule(fit.spec),
    )
    return Published(weights, fit, settled)


def inspect_backbone(weights: str) -> str:
    """The name of the known backbone whose weights these are (as for `load_backbone`, but not random), none read.

    Raises InputError if there are none, or they are of no known backbone.
    """
    if weights == "":
        raise InputError("backbone: no weights are named; give a converted folder, a local file, a hub id or builtin")
    path = _locate(weights)
    return converted_name(path) if is_converted(path) else engine.identify(open_weights(path).shapes, path).name


def _locate(weights: str) -> Path:
    if weights == BUILTIN:
        return Path(str(importlib.resources.files("adaptface_jax") / "assets" / "demo_backbone"))
    return hub.resolve(weights)


def read_backbone(weights: str, name: str | None = None) -> tuple[Weights, tuple[str, ...]]:
    """A whole backbone at its own size, from what `backbone.weights` may name (but not random); and what was assumed.

    Raises InputError if it is none, or another one than `name`.
    """
    if weights == BUILTIN and name not in (None, "demo"):
        raise InputError(f"backbone.weights: builtin holds the demo backbone, not {name}; give converted weights")
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
    """Where arrays are made that may be larger than an accelerator; on one where jax was told to leave the host out."""
    try:
        return jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:
        return contextlib.nullcontext()
