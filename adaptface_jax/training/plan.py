# SPDX-License-Identifier: Apache-2.0
"""A run before its first step, whatever it trains, and its batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np

from adaptface_jax.config.overrides import AnyConfig
from adaptface_jax.config.schema import LossConfig
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural
from adaptface_jax.data.bad_records import BadRecords
from adaptface_jax.data.pipeline import STORED_SIZE, Witness, batches, steps_per_epoch
from adaptface_jax.data.record import Source
from adaptface_jax.distributed import processes
from adaptface_jax.distributed.agreement import check_agreed
from adaptface_jax.distributed.compiler import CompilerOptions
from adaptface_jax.distributed.mesh import sharding
from adaptface_jax.losses.sampled import ClassSampler, class_sampler
from adaptface_jax.training.step import Batch, Loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that is opened and checked before the run writes anything.

    frozen, trainable, statistics: the trees of the first step, on the devices (`step.TrainState`).
    stored_size: pixels of the images that are sent to the device. evaluated: whether there is anything to evaluate on.
    expected_loss: mean and standard deviation of the first loss. record: what must be the same for the run to resume.
    enough: a logged loss below this ends the run; None for never. compiler_options: of the step.
    centers: how class centers are trained, if any are. keep: images added to each batch on which the model should not
    change, and how many. features, keep_features: rows of a batch that are known of each record of `source` and of
    `keep`, float32 [N, ...].
    """

    config: AnyConfig
    mesh: jax.sharding.Mesh
    source: Source
    frozen: Any
    trainable: Any
    statistics: Any
    loss: Loss
    expected_loss: tuple[float, float]
    record: dict[str, Any]
    evaluated: bool
    stored_size: int = STORED_SIZE
    enough: float | None = None
    compiler_options: CompilerOptions | None = None
    centers: LossConfig | None = None
    keep: tuple[Source, int] | None = None
    features: np.ndarray | None = None
    keep_features: np.ndarray | None = None

    def completed(self) -> Self:
        """The plan with what its steps take and what is computed only for them, since it takes long."""
        return self

    @property
    def sampler(self) -> ClassSampler | None:
        """Samples the class centers of a step; None if all are used."""
        if self.centers is None:
            return None
        return class_sampler(self.centers, self.source.num_classes, self.config.train.batch_size, self.mesh)

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(self.source, self.config.train.batch_size)

    @property
    def total_steps(self) -> int:
        return self.config.train.steps or self.config.train.epochs * self.steps_per_epoch

    def evaluation_due(self, step: int) -> bool:
        """Whether the state after `step` is evaluated."""
        every = self.config.eval.every_epochs * self.steps_per_epoch
        return self.evaluated and step > 0 and (step == self.total_steps or due(step, every))


def check_epoch(config: AnyConfig, source: Source) -> None:
    """Raise InputError if the images do not fill one batch, or if another process has a different set."""
    check_agreed("their training sets", {"images": len(source), "classes": source.num_classes})
    if not steps_per_epoch(source, config.train.batch_size):
        raise InputError(
            f"train.batch_size: {config.train.batch_size} is more than the {plural(len(source), 'image')} of "
            f"{source.description}"
        )


def placed_batches(
    plan: Plan, start: int, workdir: Path | None = None, witness: Witness | None = None
) -> Iterator[Batch]:
    """The batches after step `start`, on the devices; bad records, if they are skipped, are logged in `workdir`."""
    config, rows = plan.config, sharding(plan.mesh, "batch")
    skip = config.data.bad_records == "skip"
    bad_records = BadRecords(workdir, config.data.max_bad_records, jax.process_index()) if skip else None

    def read(
        source: Source, size: int, features: np.ndarray | None, witness: Witness | None
    ) -> Iterator[dict[str, np.ndarray]]:
        return batches(
            source,
            size,
            plan.stored_size,
            seed=config.seed,
            start_step=start,
            threads=config.data.threads,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            bad_records=bad_records,
            witness=witness,
            features=features,
        )

    data = read(plan.source, config.train.batch_size, plan.features, witness)
    kept = None if plan.keep is None else read(*plan.keep, plan.keep_features, None)
    for batch in data:
        if kept is not None:
            old = next(kept)
            batch["keep"] = old["image"]
            if "feature" in old:
                batch["keep_feature"] = old["feature"]
        yield processes.place_rows(batch, rows)


def due(step: int, every: int) -> bool:
    """Whether something that happens every `every` steps (0: never) is due at `step`."""
    return every > 0 and step % every == 0
