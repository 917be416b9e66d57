"""A run on disk: what it is made of, whether it is the same one, and opening it again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from adaptface_jax.config import overrides
from adaptface_jax.config.schema import AdapterConfig, Config, HeadConfig
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import to_json
from adaptface_jax.data.record import Source, keys_digest, labels_digest, texts_digest
from adaptface_jax.distributed.mesh import place, sharding, state_shardings
from adaptface_jax.losses.sharded import padded
from adaptface_jax.models.recognizer import Recognizer, compute_dtype
from adaptface_jax.training import optim
from adaptface_jax.training.checkpoint import Checkpoints
from adaptface_jax.training.state import TrainState, init_state
from adaptface_jax.weights.loading import Backbone, load_backbone
from adaptface_jax.weights.peft.start import Start, start_from

RECORD = "run.json"
CHECKPOINTS = "checkpoints"

# Settings that may change without a word: nothing that was trained so far depends on them.
MAY_CHANGE = ("config.data.benchmarks", "config.data.bad_records", "config.data.max_bad_records", "config.monitor")

# Settings that may change within a run (--override_resume): they touch neither the model nor the data. Where files lie
# may change too, since their content is compared.
HARMLESS = (
    "config.train.epochs", "config.train.steps", "config.train.log_every", "config.train.max_skipped",
    "config.train.unroll", "config.train.remat", "config.train.model_parallel", "config.loss.class_chunk",
    "config.eval.", "config.checkpoint.", "config.data.threads",
    "config.data.train", "data.source", "config.backbone.weights", "backbone.source",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Model:
    """A recogniser with its two trees on the devices, the backbone's identity, and where its adapter starts."""

    recognizer: Recognizer
    frozen: dict[str, Any]
    trainable: dict[str, Any]
    identity: dict[str, Any]
    start: Start | None = None


def load(config: Config) -> tuple[Recognizer, Backbone]:
    """The recogniser of a config, and the backbone's parameters on the host."""
    dtype = compute_dtype(config.backbone.dtype)
    wanted = config.backbone
    # In float32: trained copies start from the exact values, `Recognizer.init` rounds the frozen ones.
    backbone = load_backbone(wanted.weights, wanted.name, wanted.image_size, "float32", wanted.feature, config.seed)
    return Recognizer(backbone.spec, config, dtype), backbone


def build(config: Config, num_classes: int | None, mesh: Mesh) -> Model:
    """A fresh model on every device of the mesh; class centres only where num_classes is given."""
    recognizer, backbone = load(config)
    frozen, trainable = recognizer.init(backbone.params, num_classes)
    start = None
    if config.adapter.init_from:
        trainable, start = start_from(config, backbone.spec, trainable)
    if "centres" in trainable:
        trainable["centres"] = padded(trainable["centres"], mesh)
    frozen = jax.device_put(frozen, sharding(mesh))
    return Model(recognizer, frozen, place(mesh, trainable), backbone.identity, start)


def unadapted(config: Config) -> Config:
    """The same backbone with nothing trained: its feature is the embedding."""
    return dataclasses.replace(
        config,
        adapter=AdapterConfig(kind="none"),
        head=HeadConfig(kind="none"),
        backbone=dataclasses.replace(config.backbone, train_patch_embed=False),
    )


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


def make_record(config: Config, model: Model, source: Source) -> dict[str, Any]:
    """Everything that must be the same for a run to go on."""
    record = {"config": dataclasses.asdict(config), "backbone": model.identity, "data": describe_source(source)}
    if model.start is not None:
        record["start"] = model.start.identity()
    return json.loads(to_json(record))


def write_record(workdir: Path, record: dict[str, Any]) -> None:
    """Keep the record beside the checkpoints."""
    write_text(workdir / RECORD, to_json(record, indent=2) + "\n")


def read_record(workdir: Path) -> dict[str, Any] | None:
    """The record of the run in `workdir`, or None where no run was started."""
    path = workdir / RECORD
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{path}: not a readable run record; restore it or choose another --workdir") from None


def check_same(workdir: Path, record: dict[str, Any], override: bool = False) -> None:
    """Raises InputError where `workdir` holds another run, after printing the table of what differs.

    What MAY_CHANGE always may. With `override` so may what is HARMLESS, and it is said.
    """
    old = read_record(workdir)
    if old is None:
        return
    differences = [row for row in difference(old, record) if not row[0].startswith(MAY_CHANGE)]
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


def difference(old: Any, new: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """(path, old, new) of every leaf that differs."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [(name, old, new)]
    rows = []
    for key in sorted(old.keys() | new.keys()):
        rows += difference(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    return rows


def leaves(tree: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    """Nested values by their dotted paths, in order."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{name}.{key}" if name else key
        found |= leaves(value, path) if isinstance(value, Mapping) else {path: value}
    return found


def open_run(workdir: Path, which: str, mesh: Mesh, dtype: str | None = None) -> tuple[Model, int]:
    """The model of a finished or running run at the checkpoint `which` (best, latest or a step), and its step.

    dtype: of the frozen tree and the computation, in place of the run's own `backbone.dtype`.
    """
    record = read_record(workdir)
    if record is None:
        raise InputError(f"--run: {workdir} holds no run (no {RECORD}); expected the --workdir of a training")
    config = opened(overrides.freeze(record["config"]), dtype)
    model = build(config, record["data"]["classes"], mesh)
    old = record["backbone"].get("sha256")
    if model.identity.get("sha256") != old:
        raise InputError(
            f"backbone.weights: {config.backbone.weights} has changed since the run was trained "
            f"(sha256 {model.identity.get('sha256')} against {old}); restore the original file"
        )
    with Checkpoints(workdir / CHECKPOINTS, read_only=True) as checkpoints:
        step = checkpoints.choose(which)
        state = checkpoints.restore(step, abstract_state(config, model.trainable, mesh))
    return dataclasses.replace(model, trainable=state.trainable), step


def opened(config: Config, dtype: str | None) -> Config:
    """`config` for using a run: its adapter comes from the checkpoint, whatever became of the folder it began with."""
    return dataclasses.replace(
        config,
        adapter=dataclasses.replace(config.adapter, init_from=""),
        backbone=dataclasses.replace(config.backbone, dtype=dtype or config.backbone.dtype),
    )


def abstract_state(config: Config, trainable: Any, mesh: Mesh) -> TrainState:
    """Shapes and shardings of the training state, nothing allocated."""
    # The schedule's values do not matter here, only the optimizer's structure.
    optimizer = optim.optimizer(config.train, optim.schedule(config.train, 1, 1))
    shapes = jax.eval_shape(lambda tree: init_state(tree, optimizer), trainable)
    return jax.tree.map(
        lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), shapes, state_shardings(mesh, shapes)
    )
