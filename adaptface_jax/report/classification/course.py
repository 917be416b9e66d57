"""The training curves of a classifier: loss, accuracy and F1, in training and on the validation images."""

from __future__ import annotations

import numpy as np

from adaptface_jax.checks.run.history import column
from adaptface_jax.checks.run.records import ClassificationRun
from adaptface_jax.evaluation.plots import paint
from adaptface_jax.report.charts import Line, curves

# With more labels the lines are unreadable.
FEW = 8


def charts(run: ClassificationRun) -> list[str]:
    """Loss, accuracy, macro F1, and of a few labels the F1 of each; empty if nothing is logged yet."""
    exact = evaluated(run, "exact_match", "all attributes correct", "c3")
    return [
        curves("Loss", [trained(run, "loss"), evaluated(run, "loss")], smooth=True),
        curves(
            "Accuracy",
            [trained(run, "accuracy"), evaluated(run, "accuracy"), exact, baseline(run, "accuracy")],
            as_percent=True,
            smooth=True,
        ),
        curves(
            "Macro F1 on validation",
            [evaluated(run, "macro_f1", "macro F1", "main"), baseline(run, "macro_f1")],
            as_percent=True,
        ),
        by_label(run),
    ]


def trained(run: ClassificationRun, figure: str) -> Line:
    return Line("training", *column(run.rows, f"train/{figure}"), "main")


def evaluated(run: ClassificationRun, figure: str, name: str = "validation", kind: str = "c1") -> Line:
    return Line(name, *column(run.rows, f"eval/validation/{figure}"), kind, marked=True)


def baseline(run: ClassificationRun, figure: str) -> Line:
    """The best baseline on validation as a horizontal line; no points if none is known."""
    known = run.results.baselines.get("validation", {}) if run.results else {}
    if not known:
        return Line("best baseline", np.array([], np.int64), np.array([]), "base")
    level = max(getattr(score, figure) for score in known.values())
    return Line("best baseline", np.array([0, max(run.last_step, 1)]), np.array([level, level]), "base", dashed=True)


def by_label(run: ClassificationRun) -> str:
    """F1 of each of a few labels."""
    prefix = "eval/validation/f1/"
    names = list(dict.fromkeys(tag.removeprefix(prefix) for row in run.rows for tag in row if tag.startswith(prefix)))
    if not 1 < len(names) <= FEW:
        return ""
    lines = [evaluated(run, f"f1/{name}", name, paint(i)) for i, name in enumerate(names)]
    return curves("F1 on validation", lines, as_percent=True)
