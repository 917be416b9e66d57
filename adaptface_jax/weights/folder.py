"""The converted folder: `model.safetensors` holds our tree by path, `backbone.json` says what it is."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from adaptface_jax import trees
from adaptface_jax.errors import InputError
from adaptface_jax.files import to_json
from adaptface_jax.nn.mlp import ACTIVATIONS
from adaptface_jax.specs import BACKBONES, POSITION_RULES, BackboneSpec, ImageStats
from adaptface_jax.weights import engine
from adaptface_jax.weights.reader import SINGLE, open_weights, read_json

DESCRIPTION = "backbone.json"


@dataclasses.dataclass(frozen=True)
class Weights:
    """A whole backbone at its native size.

    spec: the known row of `name`, with the activation, image statistics and projection of these very weights.
    tree: nested dict of float32 arrays. source: as it was asked for. sha256: of the source's file(s).
    position_rule: a key of `specs.POSITION_RULES`.
    """

    name: str
    spec: BackboneSpec
    tree: dict[str, Any]
    source: str
    sha256: str | None
    position_rule: str

    def identity(self) -> dict[str, Any]:
        """What a run stores about its backbone."""
        return {
            "name": self.name,
            "source": self.source,
            "sha256": self.sha256,
            "position_rule": self.position_rule,
            "image_statistics": dataclasses.asdict(self.spec.stats),
            "activation": self.spec.activation,
        }


def is_converted(path: Path) -> bool:
    """Whether `path` is a folder that `write_folder` made."""
    return (path / DESCRIPTION).is_file()


def converted_name(path: Path) -> str:
    """The backbone that a converted folder says it holds; raises InputError where that is none of the known ones."""
    return _choice(path / DESCRIPTION, read_json(path / DESCRIPTION), "name", BACKBONES)


def write_folder(weights: Weights, out: Path, *, overwrite: bool = False) -> None:
    """Writes the folder whole or not at all; with `overwrite` an older converted folder gives way.

    Raises InputError where `out` is a file or holds anything else.
    """
    check_target(out, overwrite=overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = out.parent / f".{out.name}.{os.getpid()}.new"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        leaves = {path: np.ascontiguousarray(leaf) for path, leaf in trees.flatten(weights.tree).items()}
        safetensors.numpy.save_file(leaves, scratch / SINGLE, metadata={"format": "adaptface_jax"})
        description = {**weights.identity(), "projection": weights.spec.projection, "dtype": "float32"}
        (scratch / DESCRIPTION).write_text(to_json(description, indent=2) + "\n", encoding="utf-8")
        shutil.copymode(scratch / DESCRIPTION, scratch / SINGLE)  # safetensors makes its files private
        if out.exists():
            old = out.parent / f".{out.name}.{os.getpid()}.old"
            out.rename(old)
            scratch.rename(out)
            shutil.rmtree(old)
        else:
            scratch.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def check_target(out: Path, *, overwrite: bool) -> None:
    """Raises InputError unless `write_folder` may write to `out`."""
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out}: is a file; --out expects a folder")
    if any(out.iterdir()):
        if not overwrite:
            raise InputError(f"{out}: is not empty; choose another --out, or replace it with --overwrite")
        if not is_converted(out):
            raise InputError(f"{out}: holds something other than converted weights; choose another --out")


def check_name(path: Path, found: str, wanted: str | None) -> None:
    """Raises InputError where weights at `path` are of another backbone than the wanted one."""
    if wanted not in (None, found):
        raise InputError(f"{path}: these are weights of {found}, not of {wanted}; name the backbone {found}")


def read_folder(path: Path, wanted: str | None = None) -> Weights:
    """The converted folder at `path`, as `write_folder` left it.

    Raises InputError where it is not, and where it holds another backbone than `wanted`.
    """
    where = path / DESCRIPTION
    description = read_json(where)
    name = _choice(where, description, "name", BACKBONES)
    check_name(path, name, wanted)
    spec = dataclasses.replace(
        BACKBONES[name],
        activation=_choice(where, description, "activation", ACTIVATIONS),
        stats=_statistics(where, description.get("image_statistics")),
    )
    tensors = open_weights(path)
    fit = engine.match(engine.tree_table(BACKBONES[name]), name, tensors.shapes, path)
    return Weights(
        name=name,
        spec=dataclasses.replace(spec, projection=fit.spec.projection),
        tree=engine.to_tree(fit, tensors),
        source=_text(where, description, "source"),
        sha256=_text(where, description, "sha256"),
        position_rule=_choice(where, description, "position_rule", POSITION_RULES),
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


def _statistics(where: Path, value: Any) -> ImageStats:
    try:
        (m0, m1, m2), (s0, s1, s2) = ([float(x) for x in value[key]] for key in ("mean", "std"))
        stats = ImageStats((m0, m1, m2), (s0, s1, s2))
        sound = bool(np.isfinite((*stats.mean, *stats.std)).all()) and min(stats.std) > 0
    except (TypeError, KeyError, ValueError):
        sound = False
    if not sound:
        raise InputError(f"{where}: image_statistics is {value!r}; expected mean and std of three channels")
    return stats
