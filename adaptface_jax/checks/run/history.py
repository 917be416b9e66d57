# SPDX-License-Identifier: Apache-2.0
"""Checks of the rows of `metrics.jsonl`: loss, learning rate, gradients, gates and time waiting for data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adaptface_jax.checks.finding import Finding, Severity, fault, note, ok, share, warning
from adaptface_jax.config.schema import Config

Rows = Sequence[Mapping[str, Any]]

# With fewer rows than this a trend cannot be distinguished from noise.
FEW = 5
DEAD_USAGE = 0.02
GATE_TAG = "train/gate/mean_"


def column(rows: Rows, tag: str) -> tuple[np.ndarray, np.ndarray]:
    """(steps int64, values float64) of the rows that have the tag; null, which stands for NaN, becomes NaN."""
    found = [(row["step"], math.nan if row[tag] is None else row[tag]) for row in rows if tag in row]
    return np.array([step for step, _ in found], np.int64), np.array([value for _, value in found], np.float64)


def evaluated(rows: Rows) -> list[str]:
    """The benchmarks with accuracies in the log, by name."""
    tags = {tag for row in rows for tag in row if tag.startswith("eval/") and tag.count("/") == 2}
    return sorted(tag.split("/")[1] for tag in tags if tag.endswith("/accuracy"))


def loss(rows: Rows, config: Config, classes: int) -> Finding:
    """The loss of a face training: finite, falling, and below that of a model at chance."""
    found = falling_loss(rows)
    _, values = column(rows, "train/loss")
    if config.loss.name != "cosface" or found.severity is Severity.FAULT or len(values) < 4 * FEW:
        return found
    _, last, _ = ends(values)
    nobody = math.log(max(classes - 1, 1)) + config.loss.scale * config.loss.margin
    flat = abs(float(values[-(len(values) // 4 + 1) :].mean()) - last) < 0.01 * nobody
    if not flat or abs(last - nobody) >= 0.01 * nobody:
        return found
    return fault(
        "loss",
        f"{start_and_end(rows)}: the loss of a model at chance (log(C-1) + s m = {nobody:.2f})",
        "embeddings collapsed: labels shuffled, learning rate too high, or loss.scale too high",
        **found.numbers,
    )


def start_and_end(rows: Rows) -> str:
    """The first and last training loss in words."""
    steps, values = column(rows, "train/loss")
    first, last, _ = ends(values)
    return f"{first:.2f} at the start, {last:.2f} at step {steps[-1]:,}"


def falling_loss(rows: Rows) -> Finding:
    """Finite and falling, whatever is trained."""
    steps, values = column(rows, "train/loss")
    if not len(values):
        return warning("loss", "no step is logged", "the run has just started, or it died before its first step")
    bad = ~np.isfinite(values)
    if bad.any():
        return fault(
            "loss",
            f"not finite in {share(int(bad.sum()), len(bad))} rows, first at step {steps[bad][0]:,}",
            "lower train.learning_rate, set train.clip_norm=1, or check for broken images or weights",
        )
    first, last, noise = ends(values)
    what = start_and_end(rows)
    numbers: dict[str, Any] = {"first": first, "last": last, "rows": len(values)}
    if len(values) < FEW:
        return note("loss", f"{what}; {len(values)} rows are too few to tell", **numbers)
    if np.ptp(values) < 1e-5 * abs(first):
        return fault("loss", f"{what}: constant", "zero learning rate, blank images, or no gradient", **numbers)
    if last > max(first, values.min() * 1.5) and last - values.min() > 3 * noise:
        return fault(
            "loss",
            f"{what}, lowest {values.min():.2f}: diverging",
            "lower train.learning_rate, add train.warmup_steps and train.clip_norm",
            **numbers,
        )
    if first - last < max(0.01 * first, 2 * noise / math.sqrt(len(values) / 4)):
        return warning(
            "loss",
            f"{what}: no lower than at the start",
            "learning rate too low, labels that do not match the images, or too few steps so far",
            **numbers,
        )
    return ok("loss", what, **numbers)


def ends(values: np.ndarray) -> tuple[float, float, float]:
    """Means of the first and the last tenth, and the noise between rows."""
    tenth = max(1, len(values) // 10)
    noise = float(np.median(np.abs(np.diff(values)))) if len(values) > 1 else 0.0
    return float(values[:tenth].mean()), float(values[-tenth:].mean()), noise


def learning_rate(rows: Rows) -> Finding | None:
    """A rate that is never above zero."""
    steps, values = column(rows, "train/learning_rate")
    if not len(values):
        return None
    if np.nanmax(values) == 0:
        return fault(
            "learning rate",
            f"0 in every row to step {steps[-1]:,}",
            "train.learning_rate is 0, or the warm-up is still at zero",
        )
    return ok("learning rate", f"{np.nanmax(values):.2g} at most, {values[-1]:.2g} now")


def gradients(rows: Rows) -> Finding | None:
    """Trained parts without a gradient, and steps that were skipped for non-finite numbers."""
    tags = sorted({tag for row in rows for tag in row if tag.startswith("train/grad_norm/")})
    # The first row is excluded: there B = 0, and a router may have no gradient yet.
    norms = {tag.rpartition("/")[2]: column(rows, tag)[1][1:] for tag in tags}
    dead = [part for part, values in norms.items() if len(values) and np.nanmax(np.append(values, 0)) == 0]
    skipped = column(rows, "train/skipped")[1]
    if len(skipped) and np.nanmax(skipped) > 0:
        return warning(
            "gradients",
            f"{int(np.nanmax(skipped)):,} steps were skipped: loss or gradient not finite",
            "lower train.learning_rate, set train.clip_norm=1, or inspect the batches named in the log",
        )
    if dead:
        return fault(
            "gradients",
            f"{', '.join(dead)}: zero in every row",
            "this part has learned nothing: blank images, broken weights or a detached graph",
        )
    return (
        ok("gradients", "every trained part has a gradient") if any(len(values) for values in norms.values()) else None
    )


def gates_in_training(rows: Rows, null: bool = False) -> Finding | None:
    """Experts that are no longer used, over the last quarter of the rows. null: as for `check_gates`."""
    experts = sorted(
        {tag for row in rows for tag in row if tag.startswith(GATE_TAG) and tag.removeprefix(GATE_TAG).isdecimal()},
        key=lambda tag: int(tag.removeprefix(GATE_TAG)),
    )
    if not experts:
        return None
    usage = [_recent(column(rows, tag)[1]) for tag in experts]
    return check_gates(usage, _recent(column(rows, "train/gate/entropy")[1]), "in training", null)


def check_gates(usage: Sequence[float], entropy: float, where: str, null: bool = False) -> Finding:
    """Of the mean gate of each expert and of the images' mean entropy in nats.

    null: whether the last expert is null; it need not be used, and an image may be entirely its own.
    """
    most = math.log(len(usage))
    what = f"{where} used {' '.join(f'{100 * value:.0f}%' for value in usage)}, entropy {entropy:.2f} of {most:.2f}"
    numbers = {"usage": list(usage), "entropy": entropy}
    dead = [str(k) for k, value in enumerate(usage[:-1] if null else usage) if value < DEAD_USAGE]
    if dead:
        return fault(
            "gates",
            f"{what}: expert {' and '.join(dead)} died",
            "set adapter.balance_weight (0.5), or give domain labels; fewer experts if there are fewer domains",
            **numbers,
        )
    if entropy > 0.99 * most:
        return warning(
            "gates",
            f"{what}: the gates do not select",
            "all experts act as one: train longer, lower adapter.balance_weight, or use plain LoRA",
            **numbers,
        )
    if entropy < 0.01 * most and not null:
        return warning(
            "gates",
            f"{what}: each image has one expert only",
            "the router is saturated: raise adapter.balance_weight or lower the learning rate",
            **numbers,
        )
    return ok("gates", what, **numbers)


def waiting(rows: Rows) -> Finding | None:
    """The share of time that the device waited for data, excluding the first rows."""
    values = column(rows, "train/data_wait")[1][1:]
    if not len(values):
        return None
    speed = column(rows, "train/images_per_second")[1][1:]
    waited = float(np.nanmedian(values))
    what = f"{np.nanmedian(speed):,.0f} images/s, {100 * waited:.0f}% of the time waiting for data"
    if waited > 0.3:
        return warning(
            "speed", what, "raise data.threads, use a faster disk, or store images at the training size", wait=waited
        )
    return ok("speed", what, wait=waited)


def _recent(values: np.ndarray) -> float:
    return float(np.nanmean(values[-max(1, len(values) // 4) :])) if len(values) else math.nan
