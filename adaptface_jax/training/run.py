"""A run on disk: what it is made of, whether it is the same one, and the shapes of its state."""

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
from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import read_json, to_json
from adaptface_jax.core.text import shortened
from adaptface_jax.data.pipeline import STORED_SIZE
from adaptface_jax.data.record import Source, labels_digest, texts_digest
from adaptface_jax.distributed.mesh import state_shardings
from adaptface_jax.training import optim
from adaptface_jax.training.step import TrainState, init_state

RUN_FILE = "run.json"
STORED = "stored_size"  # of a record: pixels at which images crossed to the device
RESULTS = "results.json"  # written last: a run that has it is over
PAGE, MARKDOWN = "results.html", "results.md"

# Settings that may change without a word: nothing that was trained so far depends on them.
# What `auto` settings came to is compared in their place. A checkpoint holds nothing that train.fsdp splits, and what
# is gathered is bit for bit what was split.
MAY_CHANGE = (
    "config.data.benchmarks", "config.data.bad_records", "config.data.max_bad_records", "config.monitor",
    "config.data.stored_size", "config.train.fsdp",
)  # fmt: skip

# Settings that may change within a run (--override_resume): they touch neither the model nor the data. Where files lie
# may change too, since their content is compared.
HARMLESS = (
    "config.train.epochs", "config.train.steps", "config.train.log_every", "config.train.max_skipped",
    "config.train.patience", "config.train.unroll", "config.train.remat", "config.train.model_parallel",
    "config.loss.class_chunk", "config.backbone.attention",
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
    """Keep the record beside the checkpoints, and with each of them."""
    write_text(workdir / RUN_FILE, to_json(record, indent=2) + "\n")


def read_record(workdir: Path) -> dict[str, Any] | None:
    """The record of the run in `workdir`, or None where no run was started.

    That of a face training says at which size its images were stored; before it did they were at STORED_SIZE.
    Raises InputError where the file is not a JSON object with the settings and the data of a run, with the way back.
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
    """Raises ValueError where what every reader of a record takes for granted is not so."""
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
            raise ValueError(f"{name} is {shortened(repr(value), 40)}, expected a whole number from 1 on")


def _unreadable(path: Path, reason: str) -> InputError:
    copies = sorted(path.parent.glob(f"checkpoints/[0-9]*/{RUN_FILE}"))
    way = f"restore it with: cp {copies[-1]} {path}" if copies else "restore it"
    return InputError(f"{path}: not a readable run record ({reason}); {way}, or choose another --workdir")


def required_record(workdir: Path, flag: str) -> dict[str, Any]:
    """The record of the run in `workdir`; raises InputError, which begins with `flag`, where there is none."""
    record = read_record(workdir)
    if record is None:
        raise InputError(f"{flag}{workdir} holds no run (no {RUN_FILE}); expected the --workdir of a training")
    return record


def recorded_config(workdir: Path, record: Mapping[str, Any]) -> AnyConfig:
    """The settings in a run's record; one that the version that wrote it did not know stands at its default.

    Raises InputError for a setting that this version does not know, or whose value it does not take.
    """
    try:
        return overrides.freeze(record["config"])
    except InputError as error:
        raise InputError(
            f"{workdir / RUN_FILE}: {error}; restore the file, or use the version of adaptface_jax that wrote it"
        ) from None


def check_same(workdir: Path, old: Mapping[str, Any] | None, record: Mapping[str, Any], override: bool = False) -> None:
    """Raises InputError where the run that `workdir` holds is another one, after printing the table of what differs.

    old: its record, None where there is none. record: of the run that would go on there. What MAY_CHANGE always may.
    With `override` so may what is HARMLESS, and it is said. A setting that the run's record lacks had its default.
    """
    differences = [] if old is None else _differences(workdir, old, record)
    if not differences:
        return
    harmful = _harmful(differences)
    lines = [f"  {name:36} {before!r:>24} -> {now!r}" for name, before, now in differences]
    if override and not harmful:
        print("\n".join(["--override_resume: going on with changed settings", *lines]), flush=True)
        if any(name in ("config.train.epochs", "config.train.steps") for name, _, _ in differences):
            print("  the learning rate follows the new length from here on", flush=True)
        return
    print("\n".join([f"{workdir}: the run's settings -> the ones asked for", *lines]), flush=True)
    advice = f"{harmful[0][0]} cannot change within a run" if override else "choose another --workdir"
    if not harmful:
        advice += ", or allow this with --override_resume"
    raise InputError(
        f"--workdir: {workdir} holds a run with other settings ({_said(differences)}); {advice}, "
        "or use the run's own settings to go on with it"
    )


def check_copy(folder: Path, record: Mapping[str, Any]) -> None:
    """Raises InputError where a checkpoint keeps the record of another run than `record`.

    Changes that --override_resume allows may lie between them. Version 0.1.0 kept no record there.
    """
    kept = read_record(folder)
    if kept is None or not (harmful := _harmful(_differences(folder, kept, record))):
        return
    raise InputError(
        f"{folder}: belongs to a run with other settings ({_said(harmful)}); remove it if it was copied from there, or "
        f"if {RUN_FILE} was changed restore it with: cp {folder / RUN_FILE} {folder.parents[1] / RUN_FILE}"
    )


Difference = tuple[str, Any, Any]  # name, before, now


def _differences(place: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """What must not change, or only with a word."""
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
