"""What a run is made of before its first step: everything opened, checked and counted, and its batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from adaptface_jax.config.schema import Config
from adaptface_jax.core.errors import InputError
from adaptface_jax.data.bad_records import BadRecords
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.benchmarks.from_path import open_benchmark
from adaptface_jax.data.pipeline import batches, steps_per_epoch
from adaptface_jax.data.record import Source
from adaptface_jax.data.sources.from_path import open_source
from adaptface_jax.distributed import processes
from adaptface_jax.distributed.mesh import check_batch, make_mesh, sharding
from adaptface_jax.losses.first_loss import expected_first_loss
from adaptface_jax.models.recognizer import check_classes
from adaptface_jax.training.model import Model, build_model
from adaptface_jax.training.run import make_record
from adaptface_jax.training.step import Batch
from adaptface_jax.training.trackers import require


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that was found and checked before the run writes anything."""

    config: Config
    mesh: jax.sharding.Mesh
    model: Model
    source: Source
    benchmarks: Mapping[str, Benchmark]
    steps_per_epoch: int
    total_steps: int
    expected_loss: tuple[float, float]
    record: dict[str, Any]

    def evaluation_due(self, step: int) -> bool:
        """Whether the state after `step` is verified."""
        every = self.config.eval.every_epochs * self.steps_per_epoch
        return bool(self.benchmarks) and step > 0 and (step == self.total_steps or due(step, every))


def prepare(config: Config) -> Plan:
    """Open the data and the weights; raises InputError where something is missing or does not fit."""
    mesh = make_mesh(model=config.train.model_parallel)
    check_batch(config.train.batch_size, config.train.grad_accum, mesh)
    require(config.monitor.wandb)
    if not config.data.train:
        raise InputError("data.train: empty; set --config.data.train to a folder, a .rec folder or synthetic:SPEC")
    source = open_source(config.data.train, config.data.max_identities, config.data.max_per_identity)
    check_classes(source.num_classes)
    epoch = steps_per_epoch(source, config.train.batch_size)
    if not epoch:
        raise InputError(
            f"train.batch_size: {config.train.batch_size} is more than the {len(source)} images of {config.data.train}"
        )
    benchmarks = {name: open_benchmark(path) for name, path in config.data.benchmarks.items()}
    model = build_model(config, source.num_classes, mesh)
    return Plan(
        config=config,
        mesh=mesh,
        model=model,
        source=source,
        benchmarks=benchmarks,
        steps_per_epoch=epoch,
        total_steps=config.train.steps or config.train.epochs * epoch,
        expected_loss=expected_first_loss(
            config.loss, source.num_classes, model.recognizer.embedding_dim, config.train.batch_size
        ),
        record=make_record(config, model, source),
    )


def placed_batches(plan: Plan, start: int, workdir: Path | None = None) -> Iterator[Batch]:
    """The batches after step `start`, on the devices; bad records, where they are skipped, are logged in `workdir`."""
    config, rows = plan.config, sharding(plan.mesh, "batch")
    skip = config.data.bad_records == "skip"
    for batch in batches(
        plan.source,
        config.train.batch_size,
        seed=config.seed,
        start_step=start,
        threads=config.data.threads,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        bad_records=BadRecords(workdir, config.data.max_bad_records, jax.process_index()) if skip else None,
    ):
        yield processes.place_rows(batch, rows)


def due(step: int, every: int) -> bool:
    """Whether something that happens every so many steps (0: never) happens now."""
    return every > 0 and step % every == 0
