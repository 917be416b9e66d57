# SPDX-License-Identifier: Apache-2.0
"""A face training before its first step: data, weights and benchmarks opened, checked and counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from adaptface_jax.config.schema import Config
from adaptface_jax.config.small_sample import ENOUGH
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.progress import Phase
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.benchmarks.from_path import open_benchmark
from adaptface_jax.data.record import Source
from adaptface_jax.data.small_sample import small_sample
from adaptface_jax.data.sources.from_path import open_training
from adaptface_jax.data.stored_size import AUTO, StoredSize, stored_size
from adaptface_jax.distributed.compiler import transformer_options
from adaptface_jax.distributed.mesh import check_batch, make_mesh
from adaptface_jax.losses.first_loss import expected_first_loss
from adaptface_jax.losses.margin import init_statistics
from adaptface_jax.losses.sampled import class_sampler
from adaptface_jax.losses.sharded import check_classes_fit
from adaptface_jax.models.recognizer import check_classes
from adaptface_jax.training.plan import Plan, check_epoch
from adaptface_jax.training.recognition.domains import check_domains
from adaptface_jax.training.recognition.features import Demand, computed, demands
from adaptface_jax.training.recognition.keep import open_keep
from adaptface_jax.training.recognition.loss import make_loss
from adaptface_jax.training.recognition.model import Model, build_model
from adaptface_jax.training.recognition.run import as_begun, make_record
from adaptface_jax.training.run import STORED
from adaptface_jax.training.trackers import require
from adaptface_jax.weights.peft.adopt import adopted


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecognitionPlan(Plan):
    """A Plan with the recognizer and its benchmarks. stored: the size of its images, and the reason for it."""

    config: Config
    model: Model
    benchmarks: Mapping[str, Benchmark]
    stored: StoredSize

    @property
    def demands(self) -> tuple[Demand | None, Demand | None]:
        """Of the training set and of the images to keep (`features.demands`)."""
        return demands(self.model.recognizer, self.source, self.keep, self.total_steps)

    def completed(self) -> Self:
        """With the frozen features that are computed once; raises InputError for an image that cannot be read."""
        where = self.model.recognizer, self.frozen, self.mesh, self.stored_size
        features, kept = (computed(demand, *where) for demand in self.demands)
        return dataclasses.replace(self, features=features, keep_features=kept)


def prepare(config: Config, record: Mapping[str, Any] | None = None) -> RecognitionPlan:
    """Open the data and the weights; raises InputError if something is missing or does not fit.

    record: of the run that may be resumed; what was chosen for it stays the same.
    """
    config = adopted(config) if record is None else as_begun(config, record)
    mesh = make_mesh(model=config.train.model_parallel, fsdp=config.train.fsdp)
    check_batch(config.train.batch_size, config.train.grad_accum, mesh)
    require(config.monitor.wandb)
    if not config.data.train:
        raise InputError("data.train: empty; set --config.data.train to a folder, a .rec folder or synthetic:SPEC")
    source = open_training(config.data)
    check_domains(config, source)
    check_classes(source.num_classes)
    if config.data.overfit_small is not None:
        source = small_sample(source, config.data.overfit_small)
    check_epoch(config, source)
    benchmarks: dict[str, Benchmark] = {}
    for name, path in config.data.benchmarks.items():
        with Phase(f"opening benchmark {name}", brief=True):
            benchmarks[name] = open_benchmark(path, config.data.domains)
    if strange := next((name for name in config.eval.guard if name not in benchmarks), None):
        there = f"expected one of {', '.join(benchmarks)}" if benchmarks else "it has none"
        raise InputError(f"eval.guard: {strange!r} is not a benchmark of the run; {there}")
    keep = open_keep(config, mesh)
    stored = _stored_size(config, source, record)
    with Phase("building the model", brief=True):
        model = dataclasses.replace(build_model(config, source.num_classes, mesh), stored_size=stored.pixels)
    sampler = class_sampler(config.loss, source.num_classes, config.train.batch_size, mesh)
    taking_part = source.num_classes if sampler is None else sampler.total
    check_classes_fit(config.loss, config.train.batch_size // config.train.grad_accum, taking_part, mesh)
    return RecognitionPlan(
        config=config,
        mesh=mesh,
        source=source,
        frozen=model.frozen,
        trainable=model.trainable,
        statistics=init_statistics(config.loss.name),
        loss=make_loss(model.recognizer, mesh),
        expected_loss=expected_first_loss(
            config.loss,
            source.num_classes,
            model.recognizer.embedding_dim,
            config.train.batch_size,
            kept=None if sampler is None else sampler.total,
        ),
        record=make_record(config, model, source, keep and keep[0]),
        evaluated=bool(benchmarks),
        stored_size=stored.pixels,
        centers=config.loss,
        keep=keep,
        enough=ENOUGH if config.data.overfit_small else None,
        compiler_options=transformer_options(model.recognizer.dtype),
        model=model,
        benchmarks=benchmarks,
        stored=stored,
    )


def _stored_size(config: Config, source: Source, record: Mapping[str, Any] | None) -> StoredSize:
    wanted = config.data.stored_size
    if wanted == AUTO and record is not None and STORED in record:
        return StoredSize(record[STORED], "as when the run started")
    return stored_size(wanted, config.backbone.image_size, source)
