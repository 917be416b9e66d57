# SPDX-License-Identifier: Apache-2.0
"""The facts of a run: model, data, settings, parameters, time, versions and machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from html import escape
from typing import Any

from adaptface_jax.checks.run.history import column
from adaptface_jax.checks.run.records import AnyRun, ClassificationRun, FaceRun
from adaptface_jax.config.classification import ClassificationConfig
from adaptface_jax.config.schema import Config
from adaptface_jax.core import trees
from adaptface_jax.core.text import duration, plural, utc_minute
from adaptface_jax.models.adapters import lora, places
from adaptface_jax.models.recognizer import ParameterCount
from adaptface_jax.report.tables import table


def training_seconds(run: AnyRun) -> float | None:
    """Time spent in steps, from the logged speeds, without compilations, evaluations and pauses; None without rows."""
    steps, speed = column(run.rows, "train/images_per_second")
    if not len(steps):
        return None
    taken, last = 0.0, 0
    for step, images_per_second in zip(steps.tolist(), speed.tolist(), strict=True):
        if not images_per_second > 0:  # no speed was ever measured
            return None
        taken += (step - last) * run.config.train.batch_size / images_per_second
        last = step
    return taken


def facts(run: AnyRun) -> list[tuple[str, str]]:
    """(name, text) of the facts at the top of the section."""
    rows = recognition_facts(run) if isinstance(run, FaceRun) else classification_facts(run)
    rows += [
        ("steps", f"{run.last_step:,} of {run.planned:,}, {run.config.train.batch_size} images each"),
        ("seed", str(run.config.seed)),
    ]
    rows += time_facts(run)
    results = run.results
    if results and results.run and results.run.best_checkpoint is not None:
        rows.append(("best checkpoint", f"step {results.run.best_checkpoint:,}"))
    if results and results.reported:
        rows.append(("report created", results.reported))
    return rows


def time_facts(run: AnyRun) -> list[tuple[str, str]]:
    """When it ran, and for how long, as far as that is recorded."""
    rows, times, seconds = [], run.times, training_seconds(run)
    if times:
        rows += [("began", utc_minute(times.begun)), ("ended", utc_minute(times.ended))]
        several = f", in {times.sessions} sessions" if times.sessions > 1 else ""
        rows.append(("duration", f"{duration(times.spent)}{several}"))
    if seconds:
        rows.append(("training time", f"{duration(seconds)} in steps"))
    return rows


def recognition_facts(run: FaceRun) -> list[tuple[str, str]]:
    config, identity, data = run.config, run.record["backbone"], run.record["data"]
    weights = identity["source"]
    if identity.get("sha256"):
        weights += f" (sha256 {identity['sha256'][:12]})"
    return [
        ("backbone", f"{config.backbone.name} at {config.backbone.image_size} px"),
        ("weights", weights),
        ("adapter", adapter(config)),
        (
            "training data",
            f"{data['source']}: {plural(data['images'], 'image')}, {plural(data['classes'], 'identity')}",
        ),
        ("loss", f"{config.loss.name}, scale {config.loss.scale:g}, margin {config.loss.margin:g}"),
    ]


def classification_facts(run: ClassificationRun) -> list[tuple[str, str]]:
    data, facts = run.record["data"], run.results.run if run.results else None
    rows = [("model", facts.model if facts else architecture(run.config))]
    if facts and facts.data:
        rows += [(f"{split} data", line) for split, line in facts.data.items()]
    else:
        rows.append(
            ("train data", f"{data['source']}: {plural(data['images'], 'image')}, {plural(data['classes'], 'label')}")
        )
    train = run.config.train
    rate = f"{train.optimizer}, {train.schedule} learning rate from {train.learning_rate:g}"
    return [
        *rows,
        ("optimizer", f"{rate}, weight decay {train.weight_decay:g}"),
        ("selected by", run.config.eval.metric),
    ]


def architecture(config: ClassificationConfig) -> str:
    """The network in a few words."""
    model = config.model
    shape = f"{', '.join(map(str, model.blocks))} blocks" if model.name == "resnet" else "three convolutions"
    return f"{model.name} of {shape} at {model.image_size} px"


def adapter(config: Config) -> str:
    """The adapter in a few words."""
    given = config.adapter
    if given.kind not in ("lora", "dalora"):
        return {"none": "none: a linear probe", "full": "none: full fine-tuning"}[given.kind]
    words = places.words(given)
    if given.kind == "lora":
        return f"LoRA, {words}"
    shared = f" plus a shared one of rank {given.shared_rank}" if given.shared_rank else ""
    null = " and the frozen model" if given.null_expert else ""
    alone = ", top-1 gate" if given.gate == "top1" else ""
    count, router = lora.experts(given), places.router_words(given)
    return f"DA-LoRA, {count} expert{'s' * (count > 1)} of {words}{shared}{null}, router {router}{alone}"


def about_section(run: AnyRun) -> str:
    """The section's HTML."""
    results = run.results
    typed = results.environment.get("command") if results else None
    command = f'<p class="typed"><code>{escape(typed)}</code></p>' if typed else ""
    ran = table("The run", ["", ""], [("", row) for row in facts(run)], "wrap", 2)
    side = []
    if results and results.parameters:
        side.append(parameters_table(results.parameters))
    if results and results.environment:
        rows = [("", (name, value)) for name, value in results.environment.items() if name != "command"]
        side.append(table("Versions and machine", ["", ""], rows, "wrap", 2))
    else:
        side.append('<p class="note">Versions and parameters are recorded at the end of the run.</p>')
    changed = [("", row) for row in changed_settings(run)]
    differing = table("Settings that differ from the defaults", ["setting", "value", "default"], changed, "wrap", 3)
    settings = trees.flatten(dataclasses.asdict(run.config), ".")
    everything = [("", (name, text(value))) for name, value in settings.items()]
    listed = table("", ["setting", "value"], everything, "wrap", 2)
    whole = f"<details><summary>All settings</summary>{listed}</details>"
    return f'{command}<div class="columns"><div>{ran}</div><div>{"".join(side)}</div></div>{differing}{whole}'


def changed_settings(run: AnyRun) -> list[tuple[str, str, str]]:
    """(name, value, default) of the settings that differ from their defaults."""
    found = trees.difference(dataclasses.asdict(type(run.config)()), dataclasses.asdict(run.config))
    return [(name, text(now), text(before)) for name, before, now in found]


def parameters_table(rows: Sequence[ParameterCount]) -> str:
    """Total and trainable parameters by part; the class centers, which no recognizer keeps, below the sum."""
    kept = [(row.part, row.total, row.trainable) for row in rows if row.total is not None]
    total, trainable = sum(row[1] for row in kept), sum(row[2] for row in kept)
    lines = [("", (part, f"{every:,}", f"{trained:,}", "")) for part, every, trained in kept]
    lines.append(("mean", ("sum", f"{total:,}", f"{trainable:,}", f"{100 * trainable / total:.2f}%")))
    lines += [
        ("group", (f"{row.part} (training only)", "", f"{row.trainable:,}", "")) for row in rows if row.total is None
    ]
    return table("Parameters", ["part", "total", "trainable", "share"], lines)


def text(value: Any) -> str:
    """A setting's value as on the command line."""
    if isinstance(value, tuple | list):
        return ",".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value in (None, "", {}) else f"{value:g}" if isinstance(value, float) else str(value)
