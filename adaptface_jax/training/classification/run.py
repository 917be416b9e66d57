# SPDX-License-Identifier: Apache-2.0
"""Reopening a classification run from disk."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from adaptface_jax.config.classification import ClassificationConfig
from adaptface_jax.core.errors import InputError
from adaptface_jax.training.checkpoint import read_checkpoint
from adaptface_jax.training.classification.plan import ClassificationPlan, prepare
from adaptface_jax.training.run import RUN_FILE, abstract_state, recorded_config, required_record
from adaptface_jax.training.step import TrainState


def open_classifier(workdir: Path, which: str, path: str = "") -> tuple[ClassificationPlan, int]:
    """The plan of a finished or running run with the trees of its checkpoint `which` (best, latest or a step).

    path: where its data is now, if it has moved. Raises InputError if there is no such run or checkpoint, or
    if the data has changed.
    """
    record = required_record(workdir, "--evaluate: ")
    config = recorded_config(workdir, record)
    if not isinstance(config, ClassificationConfig):
        raise InputError(f"--evaluate: {workdir} contains a face recognition run; use `adaptface evaluate --run`")
    if path:
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, path=path))
    plan = prepare(config, record)
    for part in ("data", "validation", "test"):
        old, new = ({k: v for k, v in side[part].items() if k != "source"} for side in (record, plan.record))
        if old != new:
            name = "training" if part == "data" else part
            differ = f"its {RUN_FILE} lists {old['images']:,}, there are {new['images']:,}"
            if old["images"] == new["images"]:
                differ = f"as many as its {RUN_FILE} lists, with other names or labels"
            raise InputError(
                f"--evaluate: the {name} images of {config.data.path} are not those of the run ({differ}); "
                "restore them or set --data to where they are"
            )
    step, state = restored(plan, workdir, which)
    return dataclasses.replace(plan, trainable=state.trainable, statistics=state.statistics), step


def restored(plan: ClassificationPlan, workdir: Path, which: str) -> tuple[int, TrainState]:
    """The step and the state, of which only the model is read, of a checkpoint of the plan's run."""
    like = abstract_state(plan.config.train, plan.trainable, plan.statistics, plan.mesh)
    return read_checkpoint(workdir, which, like)
