# SPDX-License-Identifier: Apache-2.0
"""What a run prints before it starts: devices, backbone, parameters, data, expected first loss."""

from __future__ import annotations

import numpy as np

from adaptface_jax.config.schema import Config, LossConfig
from adaptface_jax.core import trees
from adaptface_jax.core.text import byte_size, plural
from adaptface_jax.data.record import Source
from adaptface_jax.data.stored_size import size_line
from adaptface_jax.losses.margin import product_dtype
from adaptface_jax.models.adapters import places
from adaptface_jax.models.recognizer import ParameterCount, count_parameters, size
from adaptface_jax.training.centers import has_own_rule
from adaptface_jax.training.loop import Ending
from adaptface_jax.training.recognition.domains import domain_lines
from adaptface_jax.training.recognition.facts import RunFacts
from adaptface_jax.training.recognition.keep import keep_lines
from adaptface_jax.training.recognition.model import Model
from adaptface_jax.training.recognition.plan import RecognitionPlan
from adaptface_jax.training.summary import expected_line, machine_line, steps_line


def summary(plan: RecognitionPlan) -> str:
    """The text."""
    config, source = plan.config, plan.source
    sizes = np.bincount(source.labels, minlength=source.num_classes)
    lines = [
        machine_line(),
        backbone_line(config, plan.model),
        *(f"{'':10}{remark}" for remark in plan.model.remarks),
        *frozen_lines(plan.model),
        *start_lines(plan.model),
        *adapter_lines(config),
        *parameter_lines(plan.model, source.num_classes),
        (
            f"data      {source.description}: {plural(len(source), 'image')}, {plural(source.num_classes, 'identity')} "
            f"({sizes.min()} to {sizes.max()} images each)"
        ),
        *(f"          {line}" for line in source.skipped_files.lines()),
        size_line(plan.stored.pixels, config.backbone.image_size, plan.stored.why),
        *domain_lines(config, source),
        *keep_lines(config, plan.keep, source),
        *(demand.line() for demand in plan.demands if demand is not None),
        *(
            f"benchmark {name}: {plural(len(b.issame), 'pair')}, {plural(len(b.images), 'image')} ({b.description})"
            for name, b in plan.benchmarks.items()
        ),
        steps_line(plan) + f"; {loss_words(config.loss)}",
        *centers_lines(plan),
        expected_line(plan.expected_loss),
    ]
    return "\n".join(lines)


def loss_words(loss: LossConfig) -> str:
    """The margin loss and its settings."""
    words = f"{loss.name} s={loss.scale:g} "
    words += {"combined": f"m={loss.margins}", "magface": f"m={loss.magface[2:4]}"}.get(loss.name, f"m={loss.margin:g}")
    words += f" +- {loss.margin_std:g}" if loss.margin_std else ""
    return words + (f", {loss.subcenters} centers per class" if loss.subcenters > 1 else "")


def backbone_line(config: Config, model: Model) -> str:
    """Name, size, dtype, kind of attention and source of the weights; random ones are flagged with a warning."""
    wanted, identity, recognizer = config.backbone, model.identity, model.recognizer
    line = f"backbone  {wanted.name} at {wanted.image_size} px, {np.dtype(recognizer.dtype).name}"
    line += f", attention {recognizer.attention}"
    if identity["source"] == "random":
        return line + "\n          WARNING: RANDOM WEIGHTS (backbone.weights is empty): nothing pretrained is adapted"
    return f"{line}, {identity['source']} (sha256 {identity['sha256'][:12]}, positions {identity['position_rule']})"


def frozen_lines(model: Model) -> list[str]:
    """The memory of the frozen tree, in total and per device, before and after quantizing and splitting it."""
    if not model.frozen:
        return []
    recognizer, count = model.recognizer, size(trees.flatten(model.frozen))
    line = f"frozen    {byte_size(count * np.dtype(recognizer.dtype).itemsize)}"
    if recognizer.quantized:
        line += f", {byte_size(trees.nbytes(model.frozen))} with the kernels of its blocks in 8 bits"
    if (fsdp := recognizer.config.train.fsdp) > 1:
        line += f", its blocks split over {fsdp} devices"
    return [f"{line}; {byte_size(trees.device_bytes(model.frozen))} on each device"]


def start_lines(model: Model) -> list[str]:
    """The source of the adapter's initial values, if it does not start fresh."""
    if model.start is None:
        return []
    return [f"start     {model.start.source} (sha256 {model.start.sha256[:12]}): {model.start.content}"]


def adapter_lines(config: Config) -> list[str]:
    """What differs between layers and blocks, if anything does; what a null expert leaves unchanged."""
    lines = [] if places.is_uniform(config.adapter) else [f"adapter   {places.words(config.adapter)}"]
    if config.adapter.null_expert:
        kept = "embedding" if config.head.kind == "none" else "feature; the head after it is trained, and shared by all"
        how = "an image routed to it" if config.adapter.gate == "top1" else "the higher that gate, the more an image"
        lines.append(f"gates     the last is the null expert's: {how} keeps the frozen model's {kept}")
    return lines


def parameter_lines(model: Model, num_classes: int) -> list[str]:
    """The parameter table; the class centers, which no recognizer keeps, are below the sum."""
    *rows, centers = parameter_counts(model, num_classes)
    total, trainable = sum(row.total or 0 for row in rows), sum(row.trainable for row in rows)
    lines = [f"{'':10}{'parameters':12}{'total':>14}{'trainable':>14}"]
    lines += [f"{'':10}{row.part:12}{row.total:>14,}{row.trainable:>14,}" for row in rows]
    lines.append(f"{'':10}{'sum':12}{total:>14,}{trainable:>14,}  {100 * trainable / total:.2f}%")
    lines.append(f"{'':10}{'centers':12}{'':14}{centers.trainable:>14,}  (training only)")
    return lines


def centers_lines(plan: RecognitionPlan) -> list[str]:
    """How the class centers are trained, if differently from everything else."""
    loss, train, sampler = plan.config.loss, plan.config.train, plan.sampler
    words = []
    if sampler is not None:
        words.append(
            f"a step samples {sampler.kept:,} of the {sampler.shard_rows:,} classes"
            + (f" of each of {sampler.shards} shards" if sampler.shards > 1 else "")
            + f", including those of its images (loss.sample_rate={loss.sample_rate:g})"
        )
    elif loss.sample_rate < 1:
        words.append(
            f"all classes are used: loss.sample_rate={loss.sample_rate:g} of them are no more than a batch may contain"
        )
    if has_own_rule(loss):
        name = train.optimizer if loss.optimizer == "same" else loss.optimizer
        words.append(f"{name} at {train.learning_rate if loss.learning_rate is None else loss.learning_rate:g}")
    if (dtype := np.dtype(product_dtype(loss)).name) != "float32":
        words.append(f"products in {dtype}")
    return [f"centers   {'; '.join(words)}"] if words else []


def run_facts(config: Config, model: Model, source: Source, ending: Ending) -> RunFacts:
    """What the report of a run states first."""
    return RunFacts(
        backbone=config.backbone.name,
        weights=model.identity["source"],
        adapter=config.adapter.kind,
        training_data=f"{source.description}, {plural(len(source), 'image')}, {plural(source.num_classes, 'identity')}",
        steps=ending.steps,
        seed=config.seed,
        best_checkpoint=ending.best,
        ended_early=ending.early,
    )


def parameter_counts(model: Model, num_classes: int) -> tuple[ParameterCount, ...]:
    """The parts of a model, the class centers last, without their padding on the mesh."""
    centers = ParameterCount(
        "centers", None, num_classes * model.recognizer.embedding_dim * model.recognizer.config.loss.subcenters
    )
    return (*count_parameters(model.recognizer, model.frozen, model.trainable), centers)
