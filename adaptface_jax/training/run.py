# SPDX-License-Identifier: Apache-2.0
"""A run on disk: its record, whether it is the same run, and the shapes of its state."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from adaptface_jax.config import overrides
from adaptface_jax.config.overrides import AnyConfig
from adaptface_jax.config.schema import Config, LoopConfig, LossConfig
from adaptface_jax.core import run_names, trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import read_json, to_json
from adaptface_jax.core.text import shortened
from adaptface_jax.data.pipeline import STORED_SIZE
from adaptface_jax.data.record import Source, labels_digest, texts_digest
from adaptface_jax.distributed.mesh import state_shardings
from adaptface_jax.training import optim
from adaptface_jax.training.step import TrainState, init_state

RUN_FILE = run_names.RUN_FILE
STORED = "stored_size"  # of a record: pixels at which images were sent to the device
RESULTS = run_names.RESULTS  # written last: a run that has it is finished
PAGE, MARKDOWN = run_names.PAGE, run_names.MARKDOWN

# Settings that may change silently: nothing that was trained so far depends on them.
# The resolved values of `auto` settings are compared instead. A checkpoint contains nothing that train.fsdp splits,
# and gathering restores bit for bit what was split. train.unroll orders the same operations (1 up to version 0.2.0).
MAY_CHANGE = (
    "config.data.benchmarks", "config.data.bad_records", "config.data.max_bad_records", "config.monitor",
    "config.data.stored_size", "config.train.fsdp", "config.train.unroll",
)  # fmt: skip

# Settings that may change within a run (--override_resume): they affect neither the model nor the data. Paths
# may change too, since the content of the files is compared.
HARMLESS = (
    "config.train.epochs", "config.train.steps", "config.train.log_every", "config.train.max_skipped",
    "config.train.patience", "config.train.remat", "config.train.model_parallel",
    "config.train.feature_cache", "config.loss.class_chunk", "config.backbone.attention",
    "config.eval.", "config.checkpoint.", "config.data.threads",
    "config.data.train", "config.data.keep", "config.data.path", "config.data.labels", "data.source", "keep.source",
    "validation.source", "test.source",
    "config.backbone.weights", "backbone.source",
)  # fmt: skip


def describe_source(source: Source) -> dict[str, Any]:
    """What identifies a training set: its size, its classes and their names, every record's key and label, in order."""
    return {
        "source": source.description,
        "images": len(source),
        "classes": source.num_classes,
        "class_names_sha256": texts_digest(source.class_names),
        "keys_sha256": source.keys_sha256,
        "labels_sha256": labels_digest(source),
    }


def write_record(workdir: Path, record: Mapping[str, Any]) -> None:
    """Store the record next to the checkpoints, and with each of them."""
    write_text(workdir / RUN_FILE, to_json(record, indent=2) + "\n")


def read_record(workdir: Path) -> dict[str, Any] | None:
    """The record of the run in `workdir`, or None if no run was started.

    That of a face training has the size at which its images were stored; older ones lack it and mean STORED_SIZE.
    Raises InputError, with how to restore it, if the file is not a JSON object with the settings and data of a run.
    """
    path = workdir / RUN_FILE
    if not path.exists():
        return None
    try:
        record = read_json(path)
        _check_record(record)
    except ValueError as error:
        raise _unreadable(path, str(error)) from None
    except InputError as error:
        raise _unreadable(path, str(error).removeprefix(f"{path}: ")) from None
    of_faces = record["config"].get("task", Config().task) == Config().task
    return {STORED: STORED_SIZE, **record} if of_faces else record


def _check_record(record: dict[str, Any]) -> None:
    """Raises ValueError if a record lacks what every reader of it relies on."""
    for section in ("config", "data"):
        if not isinstance(record.get(section), dict):
            raise ValueError(f"{section} is {shortened(repr(record.get(section)), 40)}, expected an object")
    if not isinstance(record.get("backbone", {}), dict):
        raise ValueError(f"backbone is {shortened(repr(record['backbone']), 40)}, expected an object")
    if record["config"].get("task", "recognition") == "recognition" and "backbone" not in record:
        raise ValueError("backbone is missing")
    counts = {"data.images": record["data"].get("images", 1), "data.classes": record["data"].get("classes")}
    for name, value in (counts | {STORED: record.get(STORED, STORED_SIZE)}).items():
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**31:
            raise ValueError(f"{name} is {shortened(repr(value), 40)}, expected an integer of at least 1")


def _unreadable(path: Path, reason: str) -> InputError:
    copies = sorted(path.parent.glob(f"checkpoints/[0-9]*/{RUN_FILE}"))
    way = f"restore it with: cp {copies[-1]} {path}" if copies else "restore it"
    return InputError(f"{path}: not a readable run record ({reason}); {way}, or choose another --workdir")


def required_record(workdir: Path, flag: str) -> dict[str, Any]:
    """The record of the run in `workdir`; raises InputError, which begins with `flag`, if there is none."""
    record = read_record(workdir)
    if record is None:
        raise InputError(f"{flag}{workdir} contains no run (no {RUN_FILE}); expected the --workdir of a training")
    return record


def recorded_config(workdir: Path, record: Mapping[str, Any]) -> AnyConfig:
    """The settings in a run's record; one unknown to the version that wrote it has its default.

    Raises InputError for a setting that this version does not know, or whose value it does not accept.
    """
    try:
        return overrides.freeze(record["config"])
    except InputError as error:
        raise InputError(
            f"{workdir / RUN_FILE}: {error}; restore the file, or use the version of adaptface_jax that wrote it"
        ) from None


def check_same(workdir: Path, old: Mapping[str, Any] | None, record: Mapping[str, Any], override: bool = False) -> None:
    """Raises InputError if `workdir` contains a different run, after printing the table of what differs.

    old: its record, None if there is none. record: of the run that would resume there. MAY_CHANGE settings always may.
    With `override` HARMLESS ones may too, and are reported. A setting that the run's record lacks had its default.
    """
    differences = [] if old is None else _differences(workdir, old, record)
    if not differences:
        return
    harmful = _harmful(differences)
    lines = [f"  {name:36} {before!r:>24} -> {now!r}" for name, before, now in differences]
    if override and not harmful:
        print("\n".join(["--override_resume: resuming with changed settings", *lines]), flush=True)
        if any(name in ("config.train.epochs", "config.train.steps") for name, _, _ in differences):
            print("  the learning rate schedule follows the new length from here on", flush=True)
        return
    print("\n".join([f"{workdir}: the run's settings -> the requested ones", *lines]), flush=True)
    advice = f"{harmful[0][0]} cannot change within a run" if override else "choose another --workdir"
    if not harmful:
        advice += ", or allow this with --override_resume"
    raise InputError(
        f"--workdir: {workdir} contains a run with different settings ({_said(differences)}); {advice}, "
        "or use the run's own settings to resume it"
    )


def check_copy(folder: Path, record: Mapping[str, Any]) -> None:
    """Raises InputError if the record stored with a checkpoint is not that of the run, `record`.

    Changes that --override_resume allows may have been made in between. Version 0.1.0 stored no record there.
    """
    kept = read_record(folder)
    if kept is None or not (harmful := _harmful(_differences(folder, kept, record))):
        return
    raise InputError(
        f"{folder}: belongs to a run with different settings ({_said(harmful)}); remove it if it was copied, or "
        f"if {RUN_FILE} was changed restore it with: cp {folder / RUN_FILE} {folder.parents[1] / RUN_FILE}"
    )


Difference = tuple[str, Any, Any]  # name, before, now


def _differences(place: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """Changes that are not allowed, or only with --override_resume."""
    before, now = (
        {**record, "config": json.loads(to_json(dataclasses.asdict(recorded_config(place, record))))}
        for record in (old, new)
    )
    return [row for row in trees.difference(before, now) if not row[0].startswith(MAY_CHANGE)]


def _harmful(differences: list[Difference]) -> list[Difference]:
    return [row for row in differences if not row[0].startswith(HARMLESS)]


def _said(differences: list[Difference]) -> str:
    changed = "; ".join(f"{name} was {before!r}, now {now!r}" for name, before, now in differences[:4])
    return changed + (f" and {len(differences) - 4} more" if len(differences) > 4 else "")


def abstract_state(
    config: LoopConfig, trainable: Any, statistics: Any, mesh: Mesh, loss: LossConfig | None = None
) -> TrainState:
    """Shapes and shardings of the training state, nothing allocated. loss: of a training of class centers."""
    # The schedule's values do not matter here, only the optimizer's structure.
    optimizer = optim.optimizer(config, optim.schedule(config, 1, 1), loss=loss)
    shapes = jax.eval_shape(lambda *trees: init_state(trees[0], optimizer, trees[1]), trainable, statistics)
    return jax.tree.map(
        lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), shapes, state_shardings(mesh, shapes)
    )
