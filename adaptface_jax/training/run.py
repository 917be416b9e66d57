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
from adaptface_jax.config.schema import Config, LoopConfig
from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import to_json
from adaptface_jax.data.pipeline import STORED_SIZE
from adaptface_jax.data.record import Source, keys_digest, labels_digest, texts_digest
from adaptface_jax.distributed.mesh import state_shardings
from adaptface_jax.training import optim
from adaptface_jax.training.step import TrainState, init_state

RUN_FILE = "run.json"
STORED = "stored_size"  # of a record: pixels at which images crossed to the device
RESULTS = "results.json"  # written last: a run that has it is over
PAGE, MARKDOWN = "results.html", "results.md"

# Settings that may change without a word: nothing that was trained so far depends on them.
# What `auto` settings came to is compared in their place.
MAY_CHANGE = (
    "config.data.benchmarks", "config.data.bad_records", "config.data.max_bad_records", "config.monitor",
    "config.data.stored_size",
)  # fmt: skip

# Settings that may change within a run (--override_resume): they touch neither the model nor the data. Where files lie
# may change too, since their content is compared.
HARMLESS = (
    "config.train.epochs", "config.train.steps", "config.train.log_every", "config.train.max_skipped",
    "config.train.patience", "config.train.unroll", "config.train.remat", "config.train.model_parallel",
    "config.loss.class_chunk",
    "config.eval.", "config.checkpoint.", "config.data.threads",
    "config.data.train", "config.data.path", "config.data.labels", "data.source", "validation.source", "test.source",
    "config.backbone.weights", "backbone.source",
)  # fmt: skip


def describe_source(source: Source) -> dict[str, Any]:
    """What identifies a training set: its size, its classes and their names, every record's key and label, in order."""
    return {
        "source": source.description,
        "images": len(source),
        "classes": source.num_classes,
        "class_names_sha256": texts_digest(source.class_names),
        "keys_sha256": keys_digest(source),
        "labels_sha256": labels_digest(source),
    }


def write_record(workdir: Path, record: dict[str, Any]) -> None:
    """Keep the record beside the checkpoints."""
    write_text(workdir / RUN_FILE, to_json(record, indent=2) + "\n")


def read_record(workdir: Path) -> dict[str, Any] | None:
    """The record of the run in `workdir`, or None where no run was started.

    That of a face training says at which size its images were stored; before it did they were at STORED_SIZE.
    Raises InputError where the file is not a JSON object with the settings and the data of a run.
    """
    path = workdir / RUN_FILE
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if all(isinstance(record[section], dict) for section in ("config", "data")):
            of_faces = record["config"].get("task", Config().task) == Config().task
            return {STORED: STORED_SIZE, **record} if of_faces else record
    except (OSError, ValueError, TypeError, LookupError):
        pass
    raise InputError(f"{path}: not a readable run record; restore it or choose another --workdir")


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


def check_same(workdir: Path, record: dict[str, Any], override: bool = False) -> None:
    """Raises InputError where `workdir` holds another run, after printing the table of what differs.

    What MAY_CHANGE always may. With `override` so may what is HARMLESS, and it is said. A setting that the run's record
    lacks had its default.
    """
    old = read_record(workdir)
    if old is None:
        return
    old = {**old, "config": json.loads(to_json(dataclasses.asdict(recorded_config(workdir, old))))}
    differences = [row for row in trees.difference(old, record) if not row[0].startswith(MAY_CHANGE)]
    if not differences:
        return
    harmful = [name for name, _, _ in differences if not name.startswith(HARMLESS)]
    lines = [f"  {name:36} {before!r:>24} -> {now!r}" for name, before, now in differences]
    if override and not harmful:
        print("\n".join(["--override_resume: going on with changed settings", *lines]), flush=True)
        if any(name in ("config.train.epochs", "config.train.steps") for name, _, _ in differences):
            print("  the learning rate follows the new length from here on", flush=True)
        return
    print("\n".join([f"{workdir}: the run's settings -> the ones asked for", *lines]), flush=True)
    changed = "; ".join(f"{name} was {before!r}, now {now!r}" for name, before, now in differences[:4])
    more = f" and {len(differences) - 4} more" if len(differences) > 4 else ""
    advice = f"{harmful[0]} cannot change within a run" if override else "choose another --workdir"
    if not harmful:
        advice += ", or allow this with --override_resume"
    raise InputError(
        f"--workdir: {workdir} holds a run with other settings ({changed}{more}); {advice}, "
        "or use the run's own settings to go on with it"
    )


def abstract_state(config: LoopConfig, trainable: Any, statistics: Any, mesh: Mesh) -> TrainState:
    """Shapes and shardings of the training state, nothing allocated."""
    # The schedule's values do not matter here, only the optimizer's structure.
    optimizer = optim.optimizer(config, optim.schedule(config, 1, 1))
    shapes = jax.eval_shape(lambda *trees: init_state(trees[0], optimizer, trees[1]), trainable, statistics)
    return jax.tree.map(
        lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), shapes, state_shardings(mesh, shapes)
    )
