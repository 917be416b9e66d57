"""All checks before a run, in the order in which they are made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh

from adaptface_jax.checks.finding import Finding, Section, fault, note
from adaptface_jax.checks.setup import (
    agreement,
    backbone,
    classes,
    conditions,
    domains,
    images,
    pairs,
    rehearsal,
    selection,
    settings,
)
from adaptface_jax.checks.setup.scan import Scan, scan_images, scan_source
from adaptface_jax.config.schema import Config
from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.benchmarks.from_path import open_benchmark
from adaptface_jax.data.pipeline import STORED_SIZE
from adaptface_jax.data.record import Source
from adaptface_jax.data.sources.from_path import open_training
from adaptface_jax.distributed.mesh import make_mesh
from adaptface_jax.evaluation.embedding import Embedder
from adaptface_jax.training.plan import placed_batches
from adaptface_jax.training.recognition.model import Model, build_model
from adaptface_jax.training.recognition.plan import RecognitionPlan, prepare
from adaptface_jax.weights.peft.adopt import adopted

# Features are computed in small batches: the doctor's sample must not need the memory of an evaluation.
EMBED_BATCH = 32


@dataclasses.dataclass(frozen=True)
class SetUp:
    """The parts of a run that could be opened. plan: None if training would not start; refusals: why, one line each."""

    config: Config
    mesh: Mesh
    plan: RecognitionPlan | None
    source: Source | None
    benchmarks: dict[str, Benchmark]
    model: Model | None
    refusals: dict[str, str]


def open_set_up(config: Config) -> SetUp:
    """Opened as training does; if that fails, piece by piece, so that every failure is found and not only the first."""
    mesh = make_mesh(model=config.train.model_parallel, fsdp=config.train.fsdp)
    try:
        plan = prepare(config)
    except InputError as error:
        return _open_pieces(config, mesh, str(error))
    return SetUp(config, plan.mesh, plan, plan.source, dict(plan.benchmarks), plan.model, {})


def _open_pieces(config: Config, mesh: Mesh, refusal: str) -> SetUp:
    refusals, source, model, benchmarks = {}, None, None, {}
    try:
        source = open_training(config.data)
    except InputError as error:
        refusals["training data"] = str(error)
    for name, path in config.data.benchmarks.items():
        try:
            benchmarks[name] = open_benchmark(path, config.data.domains)
        except InputError as error:
            refusals[f"benchmark {name}"] = str(error)
    try:
        model = build_model(adopted(config), None if source is None else source.num_classes, mesh)
    except InputError as error:
        refusals["backbone"] = str(error)
    if refusal not in refusals.values():
        refusals["training"] = refusal
    return SetUp(config, mesh, None, source, benchmarks, model, refusals)


def check_setup(
    config: Config,
    workdir: Path | None = None,
    sample: int | None = 1000,
    memory_limit: int | None = None,
    look_at: Callable[[Any], Finding] | None = None,
) -> Iterator[Section]:
    """The sections of the report, each as soon as it is ready.

    look_at: how a benchmark's images are given to a model (`align.benchmark_images`), since it needs the detector.
    sample: training images to read, None for all. memory_limit: bytes to compare the step with instead of the devices'.
    """
    set_up = open_set_up(config)
    refused = [fault(name, reason, "training would not start") for name, reason in set_up.refusals.items()]
    if refused:
        yield Section("set-up", "what cannot be opened", tuple(refused))
    scan = None
    model, source = set_up.model, set_up.source
    if model is not None:
        findings = [backbone.identity(config, model), backbone.statistics(model), backbone.positions(config, model)]
        yield Section("backbone", config.backbone.name, (*findings, *backbone.remarks(model)))
    embedder = None if model is None else Embedder(model.recognizer, set_up.mesh, EMBED_BATCH, model.stored_size)
    if source is not None:
        scan = scan_source(source, sample, config.seed)
        yield Section("data", source.description, _data(set_up, source, scan, embedder))
    for name, benchmark in set_up.benchmarks.items():
        yield Section(
            f"benchmark {name}", benchmark.description, _benchmark(set_up, name, benchmark, scan, embedder, look_at)
        )
    yield Section("training", _recipe(config), _training(set_up, scan, workdir, memory_limit))


def _data(set_up: SetUp, source: Source, scan: Scan, embedder: Embedder | None) -> tuple[Finding, ...]:
    policy = set_up.config.data
    allowed = policy.max_bad_records if policy.bad_records == "skip" else None
    findings: list[Finding | None] = [
        selection.selection(source),
        images.readable(scan, allowed=allowed),
        classes.balance(source),
        classes.few(source),
    ]
    findings += [classes.label_range(source, scan), *domains.domains(set_up.config, source)]
    if scan.good.any():
        stored = STORED_SIZE if set_up.model is None else set_up.model.stored_size
        findings += [
            images.sizes(scan, stored),
            images.contents(scan),
            images.colors(scan),
        ]
        findings += images.duplicates(scan, source)
        if set_up.model is not None and embedder is not None:
            findings.append(agreement.labels(set_up.model, embedder, source, set_up.config.seed))
    return tuple(finding for finding in findings if finding is not None)


def _benchmark(
    set_up: SetUp,
    name: str,
    benchmark: Benchmark,
    training: Scan | None,
    embedder: Embedder | None,
    look_at: Callable[[Any], Finding] | None,
) -> tuple[Finding, ...]:
    scan = scan_images(benchmark, name)
    if scan.failures:
        return images.readable(scan, "images"), pairs.kinds(benchmark)
    same = pairs.identical_images(scan)
    findings: list[Finding | None] = [pairs.kinds(benchmark), pairs.contents(scan), *pairs.repeated(benchmark, same)]
    findings += [look_at(benchmark.images)] if look_at is not None else []
    findings += [pairs.contradictions(benchmark, same), *conditions.conditions(benchmark)]
    if training is not None:
        findings.append(pairs.overlap(training, scan))
    if set_up.model is not None and embedder is not None:
        seed = set_up.config.seed
        findings.append(agreement.truth_values(set_up.model, embedder, benchmark, scan.good, seed))
    return tuple(finding for finding in findings if finding is not None)


def _training(set_up: SetUp, scan: Scan | None, workdir: Path | None, memory_limit: int | None) -> tuple[Finding, ...]:
    config, plan = set_up.config, set_up.plan
    findings = [settings.learning_rate(config)]
    if plan is None:
        return (*findings, note("one step", "not run: training would not start"))
    findings.append(settings.course(config, plan.steps_per_epoch, plan.total_steps))
    findings.append(settings.scale(config, plan.source.num_classes))
    try:
        data = placed_batches(plan, 0)
        first = next(data)
        compiled = rehearsal.compile_step(plan, first)
        devices = list(np.ravel(plan.mesh.devices))
        limit = rehearsal.available_memory(devices) if memory_limit is None else memory_limit
        room = rehearsal.memory(compiled, limit, len(devices))
        findings.append(room)
        state_bytes = trees.nbytes((compiled.state.trainable, compiled.state.opt_state))
        findings.append(settings.disk(workdir, config, state_bytes, plan.total_steps))
        if room.severity == "fault":
            findings.append(note("one step", "not run: it would not fit"))
        else:
            rehearsed = rehearsal.run(plan, compiled, first, data)
            findings += [rehearsal.first_loss(rehearsed, plan.expected_loss), rehearsal.gradients(rehearsed)]
            findings.append(rehearsal.speed(rehearsal.decode_rate(plan), rehearsed.images_per_second))
    except InputError as error:
        advice = "the run would stop here: repair or remove the record"
        if scan is not None and scan.failures:
            findings.append(note("one step", "not run: see the unreadable records above"))
        else:
            findings.append(fault("one step", str(error), advice))
    return tuple(findings)


def _recipe(config: Config) -> str:
    adapter = config.adapter
    return f"{adapter.kind} rank {adapter.rank}" if adapter.kind in ("lora", "dalora") else adapter.kind
