"""The converted folder: `model.safetensors` holds our tree by path, `backbone.json` describes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import check_folder, whole_folder
from adaptface_jax.core.json_io import read_json, to_json
from adaptface_jax.models.layers.mlp import ACTIVATIONS
from adaptface_jax.models.specs import BACKBONES, POSITION_RULES, ROTARY, BackboneSpec
from adaptface_jax.weights.formats.reader import SINGLE, open_weights
from adaptface_jax.weights.formats.safetensors_files import write_file
from adaptface_jax.weights.names import engine
from adaptface_jax.weights.names.transforms import Shape
from adaptface_jax.weights.sidecar.statistics import image_statistics

DESCRIPTION = "backbone.json"
CONTENT = "converted weights"


@dataclasses.dataclass(frozen=True)
class Weights:
    """A complete backbone at its native size.

    spec: the known row of `name`, with the activation, image statistics and projection of these particular weights.
    tree: nested dict of float32 arrays. source: as requested. sha256: of the source's file(s).
    position_rule: a key of `specs.POSITION_RULES`, or ROTARY.
    """

    name: str
    spec: BackboneSpec
    tree: dict[str, Any]
    source: str
    sha256: str | None
    position_rule: str

    def identity(self) -> dict[str, Any]:
        """The record of its backbone that a run stores."""
        return {
            "name": self.name,
            "source": self.source,
            "sha256": self.sha256,
            "position_rule": self.position_rule,
            "image_statistics": dataclasses.asdict(self.spec.stats),
            "activation": self.spec.activation,
        }


def is_converted(path: Path) -> bool:
    """Whether `path` is a folder that `write_folder` wrote."""
    return (path / DESCRIPTION).is_file()


def converted_name(path: Path) -> str:
    """The backbone named by a converted folder; raises InputError if it is unknown."""
    return _choice(path / DESCRIPTION, read_json(path / DESCRIPTION), "name", BACKBONES)


def write_folder(weights: Weights, out: Path, *, overwrite: bool = False) -> None:
    """Writes the folder atomically; with `overwrite` it replaces an older converted folder.

    Raises InputError if `out` is a file or holds anything else.
    """
    with whole_folder(out, overwrite=overwrite, marker=DESCRIPTION, what=CONTENT) as scratch:
        leaves = {path: np.ascontiguousarray(leaf) for path, leaf in trees.flatten(weights.tree).items()}
        write_file(scratch / SINGLE, leaves, layout="adaptface_jax")
        description = {**weights.identity(), "projection": weights.spec.projection, "dtype": "float32"}
        (scratch / DESCRIPTION).write_text(to_json(description, indent=2) + "\n", encoding="utf-8")


def check_target(out: Path, *, overwrite: bool) -> None:
    """Raises InputError unless `write_folder` may write to `out`."""
    check_folder(out, overwrite=overwrite, marker=DESCRIPTION, what=CONTENT)


def check_name(path: Path, found: str, wanted: str | None) -> None:
    """Raises InputError if the weights at `path` are of a backbone other than the wanted one."""
    if wanted not in (None, found):
        raise InputError(f"{path}: these are weights of {found}, not of {wanted}; name the backbone {found}")


def read_folder(path: Path, wanted: str | None = None) -> Weights:
    """The converted folder at `path`, as written by `write_folder`.

    Raises InputError if it is not one, and if it holds a backbone other than `wanted`.
    """
    described = read_description(path)
    check_name(path, described.name, wanted)
    tensors = open_weights(path)
    fit = fit_folder(path, described.name, tensors.shapes)
    spec = dataclasses.replace(described.spec, projection=fit.spec.projection, native_size=fit.spec.native_size)
    return dataclasses.replace(described, spec=spec, tree=engine.to_tree(fit, tensors, path))


def fit_folder(path: Path, name: str, shapes: Mapping[str, Shape]) -> engine.Fit:
    """The tensors of a converted folder as our tree's leaves; raises InputError naming every difference."""
    return engine.match(engine.tree_table(BACKBONES[name]), name, shapes, path)


def read_description(path: Path) -> Weights:
    """The description of a converted folder, with an empty tree; raises InputError if a field is invalid."""
    where = path / DESCRIPTION
    description = read_json(where)
    name = _choice(where, description, "name", BACKBONES)
    stats = description.get("image_statistics")
    mean, std = (stats.get("mean"), stats.get("std")) if isinstance(stats, dict) else (stats, None)
    spec = dataclasses.replace(
        BACKBONES[name],
        activation=_choice(where, description, "activation", ACTIVATIONS),
        stats=image_statistics(where, "image_statistics", mean, std),
    )
    return Weights(
        name=name,
        spec=spec,
        tree={},
        source=_text(where, description, "source"),
        sha256=_text(where, description, "sha256"),
        position_rule=_choice(where, description, "position_rule", {**POSITION_RULES, ROTARY: None}),
    )


def _text(where: Path, description: Mapping[str, Any], key: str) -> str:
    value = description.get(key)
    if not isinstance(value, str):
        raise InputError(f"{where}: {key} is {value!r}; expected text; convert the weights again")
    return value


def _choice(where: Path, description: Mapping[str, Any], key: str, known: Mapping[str, Any]) -> Any:
    value = _text(where, description, key)
    if value not in known:
        raise InputError(f"{where}: {key} is {value!r}; expected one of {', '.join(known)}")
    return value
