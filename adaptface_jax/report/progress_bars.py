# SPDX-License-Identifier: Apache-2.0
"""The training curves in plain text: one line with a bar per epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from adaptface_jax.checks.run.history import column, evaluated
from adaptface_jax.checks.run.records import FaceRun
from adaptface_jax.evaluation.markdown import Part
from adaptface_jax.evaluation.markdown_tables import area, percent

WIDTH = 32  # characters of the longest bar
MOST = 12  # lines per curve, plus that of its best value
EIGHTHS = " ▏▎▍▌▋▊▉█"


class Point(NamedTuple):
    """label: the epoch or the step, as text."""

    label: str
    value: float


def progress_parts(run: FaceRun) -> list[Part]:
    """Training loss, and accuracy and AUC on each benchmark, as far as they were logged."""
    parts = []
    if losses := loss_by_epoch(run):
        parts.append(("Loss", fenced(lines(losses, max(point.value for point in losses), ".2f"))))
    for name in evaluated(run.rows):
        accuracies, areas = evaluations(run, name, "accuracy"), evaluations(run, name, "auc")
        if accuracies:
            parts.append((f"Accuracy on {name}", fenced(lines(accuracies, 1, ".2%", best(accuracies)))))
        if areas:
            parts.append((f"AUC on {name}", fenced(lines(areas, 1, ".4f", best(areas)))))
    return parts


def loss_by_epoch(run: FaceRun) -> list[Point]:
    """The mean of the rows logged in each epoch; the rows themselves if there are fewer than two epochs."""
    steps, values = column(run.rows, "train/loss")
    steps, values = steps[np.isfinite(values)], values[np.isfinite(values)]
    epochs = (steps - 1) // run.epoch + 1 if run.epoch else np.ones_like(steps)
    if len(np.unique(epochs)) < 2:
        return [Point(f"step {step:,}", value) for step, value in zip(steps.tolist(), values.tolist(), strict=True)]
    return [Point(f"epoch {epoch:,}", float(values[epochs == epoch].mean())) for epoch in np.unique(epochs).tolist()]


def evaluations(run: FaceRun, name: str, metric: str) -> list[Point]:
    """A metric of a benchmark, `accuracy` or `auc`, at each evaluation."""
    steps, values = column(run.rows, f"eval/{name}/{metric}")
    return [
        Point(when(run, step), value)
        for step, value in zip(steps.tolist(), values.tolist(), strict=True)
        if np.isfinite(value)
    ]


def when(run: FaceRun, step: int) -> str:
    """The epoch that a step ends, or the step."""
    return f"epoch {step // run.epoch:,}" if run.epoch and step % run.epoch == 0 else f"step {step:,}"


def best(points: Sequence[Point]) -> int:
    """The index of the first maximum."""
    return max(range(len(points)), key=lambda i: points[i].value)


def best_and_last(run: FaceRun, name: str) -> list[str]:
    """Cells of a table: name; accuracy at the end, the best one and when; the same for the AUC."""
    cells = [name]
    for metric, written in (("accuracy", percent), ("auc", area)):
        points = evaluations(run, name, metric)
        top = points[best(points)] if points else None
        cells += [written(points[-1].value), written(top.value), top.label] if top else ["n/a"] * 3
    return cells


def lines(points: Sequence[Point], whole: float, form: str, marked: int | None = None) -> list[str]:
    """One line per point, or for some of many, with bars that are WIDTH long at `whole`."""
    chosen = {round(i) for i in np.linspace(0, len(points) - 1, min(MOST, len(points)))}
    shown = sorted(chosen | ({marked} if marked is not None else set()))
    numbers = [format(points[i].value, form) for i in shown]
    labels = max(len(points[i].label) for i in shown)
    found = []
    for i, number in zip(shown, numbers, strict=True):
        note = "  best" if i == marked else ""
        size = f"{number:>{max(map(len, numbers))}}"
        found.append(f"{points[i].label:<{labels}}  {size}  {bar(points[i].value, whole)}{note}")
    return found


def bar(value: float, whole: float) -> str:
    """A bar of blocks and eighths of blocks; empty for values that are not positive."""
    eighths = round(8 * WIDTH * min(max(value / whole, 0), 1)) if whole > 0 else 0
    return EIGHTHS[-1] * (eighths // 8) + (EIGHTHS[eighths % 8] if eighths % 8 else "")


def fenced(text: Sequence[str]) -> str:
    """As a code block, which preserves columns."""
    return "\n".join(["```text", *text, "```"])
