"""What a run says before it starts: devices, backbone, parameters, data, expected first loss."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from adaptface_jax.config.schema import Config
from adaptface_jax.core import trees
from adaptface_jax.core.version import __version__
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.record import Source
from adaptface_jax.models.recognizer import ParameterCount, count_parameters
from adaptface_jax.training.model import Model


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """What a report says first: names, the number of steps, the step of the best checkpoint (None: none was verified).

    weights: where the backbone's are from. adapter: its kind. training_data: one line.
    """

    backbone: str
    weights: str
    adapter: str
    training_data: str
    steps: int
    seed: int
    best_checkpoint: int | None = None


def summary(
    config: Config,
    model: Model,
    source: Source,
    benchmarks: Mapping[str, Benchmark],
    steps: tuple[int, int],
    expected: tuple[float, float],
) -> str:
    """The text; steps = (per epoch, in all), expected = (mean, std) of the first loss."""
    devices = jax.devices()
    sizes = np.bincount(source.labels, minlength=source.num_classes)
    lines = [
        f"adaptface_jax {__version__}, jax {jax.__version__}, {len(devices)} x {devices[0].device_kind}",
        backbone_line(config, model),
        *start_lines(model),
        *parameter_lines(model, source.num_classes),
        (
            f"data      {source.description}: {len(source):,} images, {source.num_classes:,} identities "
            f"({sizes.min()} to {sizes.max()} images each)"
        ),
        *(
            f"benchmark {name}: {len(b.issame):,} pairs, {len(b.images):,} images ({b.description})"
            for name, b in benchmarks.items()
        ),
        (
            f"training  {steps[1]:,} steps of {config.train.batch_size} images, {steps[0]:,} an epoch; "
            f"{config.loss.name} s={config.loss.scale:g} m={config.loss.margin:g}"
        ),
        f"loss      the first should be {expected[0]:.2f} +- {expected[1]:.2f}",
    ]
    return "\n".join(lines)


def backbone_line(config: Config, model: Model) -> str:
    """Name, size, dtype and where the weights are from; random ones are said loudly."""
    wanted, identity = config.backbone, model.identity
    line = f"backbone  {wanted.name} at {wanted.image_size} px, {np.dtype(model.recognizer.dtype).name}"
    if identity["source"] == "random":
        return line + "\n          WARNING: RANDOM WEIGHTS (backbone.weights is empty): nothing pretrained is adapted"
    return f"{line}, {identity['source']} (sha256 {identity['sha256'][:12]}, positions {identity['position_rule']})"


def start_lines(model: Model) -> list[str]:
    """Where the adapter's first values are from, where it does not start fresh."""
    if model.start is None:
        return []
    return [f"start     {model.start.source} (sha256 {model.start.sha256[:12]}): {model.start.content}"]


def parameter_lines(model: Model, num_classes: int) -> list[str]:
    """The parameter table; the class centres, which no recogniser keeps, stand below the sum."""
    *rows, centres = parameter_counts(model, num_classes)
    total, trainable = sum(row.total or 0 for row in rows), sum(row.trainable for row in rows)
    lines = [f"{'':10}{'parameters':12}{'total':>14}{'trainable':>14}"]
    lines += [f"{'':10}{row.part:12}{row.total:>14,}{row.trainable:>14,}" for row in rows]
    lines.append(f"{'':10}{'sum':12}{total:>14,}{trainable:>14,}  {100 * trainable / total:.2f}%")
    lines.append(f"{'':10}{'centres':12}{'':14}{centres.trainable:>14,}  (training only)")
    return lines


def run_facts(config: Config, model: Model, source: Source, steps: int, best_checkpoint: int | None) -> RunFacts:
    """What the report says first of a run."""
    return RunFacts(
        backbone=config.backbone.name,
        weights=model.identity["source"],
        adapter=config.adapter.kind,
        training_data=f"{source.description}, {len(source)} images, {source.num_classes} identities",
        steps=steps,
        seed=config.seed,
        best_checkpoint=best_checkpoint,
    )


def parameter_counts(model: Model, num_classes: int) -> tuple[ParameterCount, ...]:
    """The parts of a model, the class centres last, without what pads them on the mesh."""
    centres = ParameterCount("centres", None, num_classes * model.recognizer.embedding_dim)
    return (*count_parameters(model.frozen, model.trainable), centres)


def utc_now() -> str:
    """The minute, for reports."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def first_loss_line(loss: float, expected: tuple[float, float]) -> str:
    """The first loss beside the one to expect, (mean, std)."""
    mean, std = expected
    line = f"first loss {loss:.3f}, expected {mean:.2f} +- {std:.2f}"
    far = abs(loss - mean) > 3 * std
    return line + ("  <- more than 3 standard deviations away: check labels and preprocessing" if far else "")


def as_markdown(record: dict[str, Any]) -> str:
    """A record of values, also nested, as a table for TensorBoard."""
    rows = [f"| {name} | {value} |" for name, value in trees.flatten(record, ".").items()]
    return "\n".join(["| setting | value |", "| --- | --- |", *rows])
