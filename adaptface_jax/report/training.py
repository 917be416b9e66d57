# SPDX-License-Identifier: Apache-2.0
"""The training curves: loss, accuracy, and other logged values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adaptface_jax.checks.run.history import Rows, column, evaluated
from adaptface_jax.checks.run.records import FaceRun
from adaptface_jax.evaluation.plots import paint
from adaptface_jax.report.benchmarks import widest
from adaptface_jax.report.charts import Line, curves

MORE = (
    ("learning_rate", "Learning rate"),
    ("target_cosine", "Mean target cosine"),
    ("grad_norm", "Gradient norm"),
    ("images_per_second", "Images per second"),
)


def recognition_loss(run: FaceRun) -> str:
    """The loss over the steps."""
    return curves("Training loss", [Line("loss", *column(run.rows, "train/loss"), "main")], smooth=True)


def recognition_accuracy(run: FaceRun) -> str:
    """Accuracy on each benchmark over the steps, with that of the frozen backbone."""
    lines: list[Line] = []
    for i, name in enumerate(evaluated(run.rows)):
        x, y = column(run.rows, f"eval/{name}/accuracy")
        kind = "main" if i == 0 else paint(i)
        lines.append(Line(name, x, y, kind, marked=True))
        _, frozen = column(run.rows, f"frozen/{name}/accuracy")
        if len(frozen):
            steps = np.insert(x, 0, 0)
            level = np.full(len(steps), frozen[-1])
            lines.append(Line(f"{name}, frozen", steps, level, kind, dashed=True))
    least = widest(run.results.benchmarks.values()) if run.results else 0.0
    return curves("Accuracy on held-out pairs", lines, as_percent=True, least=least)


def training_section(rows: Rows, charts: Sequence[str]) -> str:
    """The section's HTML: the charts of this kind of run, some of them empty, and below them those of every run."""
    more = [
        curves(title, [Line(title, *column(rows, f"train/{tag}"), "main")], smooth=tag != "learning_rate")
        for tag, title in MORE
    ]
    shown = "".join(chart for chart in charts if chart)
    if not shown:
        return '<p class="lead">No step has been logged yet.</p>'
    rest = "".join(chart for chart in more if chart)
    hidden = f'<details><summary>More curves</summary><div class="charts">{rest}</div></details>' if rest else ""
    return f'<div class="charts">{shown}</div>{hidden}'
