# SPDX-License-Identifier: Apache-2.0
"""A face training on disk: its record, and reopening it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from adaptface_jax.config import overrides
from adaptface_jax.config.schema import Config
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.json_io import to_json
from adaptface_jax.core.text import shown
from adaptface_jax.data.record import Source, domains_digest
from adaptface_jax.distributed.mesh import here, make_mesh, place
from adaptface_jax.losses.margin import init_statistics
from adaptface_jax.models.adapters import places, several
from adaptface_jax.training.averaging import kept, used
from adaptface_jax.training.checkpoint import read_checkpoint
from adaptface_jax.training.recognition.model import Model, build_model, opened
from adaptface_jax.training.run import STORED, abstract_state, describe_source, recorded_config, required_record


def make_record(config: Config, model: Model, source: Source, keep: Source | None = None) -> dict[str, Any]:
    """Everything that must be the same for a run to resume."""
    data = describe_source(source)
    if config.data.domains:  # what a source itself provides is in its description
        data |= {"domains": source.domain_names, "domains_sha256": domains_digest(source)}
    record = {"config": dataclasses.asdict(config), "backbone": model.identity, "data": data, STORED: model.stored_size}
    if keep is not None:
        record["keep"] = describe_source(keep)
    if model.start is not None:
        record["start"] = model.start.identity()
    return json.loads(to_json(record))


def as_begun(config: Config, record: Mapping[str, Any]) -> Config:
    """`config` with the patterns that its run took from `adapter.init_from`, if the settings name none."""
    adapter = config.adapter
    if not (adapter.init_from and places.is_uniform(adapter)):
        return config
    try:
        begun = overrides.freeze(record["config"])
    except InputError:
        return config  # which `check_same` reports, with how to proceed
    if not isinstance(begun, Config):
        return config
    taken = {name: getattr(begun.adapter, name) for name in ("blocks", "rank_pattern", "alpha_pattern")}
    return dataclasses.replace(config, adapter=dataclasses.replace(adapter, **taken))


def recognition_config(workdir: Path, record: Mapping[str, Any]) -> Config:
    """The settings in the record of a face training; raises InputError if the run is of another kind."""
    config = recorded_config(workdir, record)
    if not isinstance(config, Config):
        raise InputError(f"{workdir}: contains a classification run; expected one of `adaptface train`")
    return config


def run_mesh(workdir: Path, *, keep_memory: bool = True) -> Mesh:
    """A mesh to use a run on: its frozen blocks are split over as many devices as in training, or as many as divide
    the available ones; raises InputError if there is no run."""
    config = recognition_config(workdir, required_record(workdir, "--run: "))
    return make_mesh(fsdp=here(config.train.fsdp), keep_memory=keep_memory)


def open_run(
    workdir: Path, which: str, mesh: Mesh, dtype: str | None = None, quantize: str | None = None
) -> tuple[Model, int]:
    """The model of a finished or running run at the checkpoint `which` (best, latest or a step), and its step.

    dtype, quantize: of the frozen tree and the computation, instead of the run's own `backbone.dtype` and
    `backbone.quantize`. The mesh determines over how many devices the frozen blocks are split.
    """
    record = required_record(workdir, "--run: ")
    config = opened(recognition_config(workdir, record), mesh, dtype, quantize)
    model = build_model(config, None, mesh)
    old = record["backbone"].get("sha256")
    if model.identity.get("sha256") != old:
        raise InputError(
            f"backbone.weights: {config.backbone.weights} has changed since the run was trained "
            f"(sha256 {model.identity.get('sha256')} against {old}); restore the original file"
        )
    return _at(workdir, which, model, record, mesh)


def open_same_backbone(workdir: Path, which: str, first: Model, mesh: Mesh) -> Model:
    """Another run on the backbone of `first`, which both share.

    Raises InputError, which begins with the folder, for a different backbone, and for a run that cannot be combined
    with the first (`models.adapters.several`).
    """
    record = required_record(workdir, "adapters: ")
    named, beside = f"adapters: {shown(str(workdir))}", first.recognizer.config
    config = opened(recognition_config(workdir, record), mesh, beside.backbone.dtype, beside.backbone.quantize)
    one, other = first.identity, record["backbone"]
    same = all(one.get(name) == other.get(name) for name in ("name", "sha256"))
    if not same or (one.get("sha256") is None and config.seed != beside.seed):
        raise InputError(
            f"{named} has a different backbone ({other.get('name')}, sha256 {other.get('sha256')}) from "
            f"{one.get('name')}, {one.get('sha256')}; open it by itself"
        )
    try:
        several.check_alike(beside, config)
    except InputError as error:
        raise InputError(f"{named}: {error}") from None
    if record[STORED] != first.stored_size:
        raise InputError(f"{named}: data.stored_size is {record[STORED]}, not {first.stored_size}; open it by itself")
    recognizer = dataclasses.replace(first.recognizer, config=config)
    trainable = recognizer.init(first.frozen["backbone"], None)[1]
    model = dataclasses.replace(first, recognizer=recognizer, trainable=place(mesh, trainable), start=None)
    return _at(workdir, which, model, record, mesh)[0]


def _at(workdir: Path, which: str, model: Model, record: Mapping[str, Any], mesh: Mesh) -> tuple[Model, int]:
    """The model with the trained parameters of a checkpoint, but for the class centers, and its step."""
    config = model.recognizer.config
    centers = jax.eval_shape(lambda: model.recognizer.init_centers(record["data"]["classes"], mesh))
    trainable = model.trainable | {"centers": centers}
    like = abstract_state(config.train, trainable, init_statistics(), mesh, config.loss)
    step, state = read_checkpoint(workdir, which, like)
    trainable = kept(used(state.trainable, state.opt_state))
    return dataclasses.replace(model, trainable=trainable, stored_size=record[STORED]), step
