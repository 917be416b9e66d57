# SPDX-License-Identifier: Apache-2.0
"""Checks of the verification metrics of a run: against chance, against the frozen backbone, and over time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from adaptface_jax.checks.finding import Finding, fault, note, ok, warning
from adaptface_jax.checks.run.history import Rows, column, ends, evaluated
from adaptface_jax.evaluation import headline
from adaptface_jax.evaluation.results import BenchmarkResult, Results
from adaptface_jax.evaluation.statistics.intervals import Interval
from adaptface_jax.evaluation.statistics.verdict import Outcome, Verdict, apart


@dataclasses.dataclass(frozen=True)
class Measured:
    """Accuracy (a fraction) and AUC on a benchmark; pairs None if only the log is known."""

    accuracy: float
    auc: float
    pairs: int | None = None


def measured(rows: Rows, results: Results | None) -> dict[str, Measured]:
    """The final report's benchmarks, or before that the metrics of the last evaluation."""
    if results is not None and results.benchmarks:
        return {name: Measured(entry.accuracy, entry.auc, entry.pairs) for name, entry in results.benchmarks.items()}
    found = {}
    for name in evaluated(rows):
        (_, accuracies), (_, areas) = (column(rows, f"eval/{name}/{metric}") for metric in ("accuracy", "auc"))
        if len(areas):
            found[name] = Measured(float(accuracies[-1]), float(areas[-1]))
    return found


def verification(found: Measured) -> Finding:
    """AUC and accuracy against chance."""
    accuracy, auc, pairs = found.accuracy, found.auc, found.pairs
    counted = f" on {pairs:,} pairs" if pairs else ""
    what = f"accuracy {100 * accuracy:.2f}%, AUC {auc:.4f}{counted}"
    # Half of each kind; if the number of pairs is unknown, a set of a few hundred.
    half = max(1, (pairs or 300) // 2)
    error = math.sqrt((2 * half + 1) / (12 * half * half))
    numbers = {"accuracy": accuracy, "auc": auc, "pairs": pairs}
    if auc < 0.5 - 2.5 * error:
        return fault(
            "verification",
            f"{what}: genuine pairs are farther apart than impostor pairs",
            "truth values or pairs inverted, or distances used as similarities",
            **numbers,
        )
    if auc < 0.5 + 2 * error or accuracy < 0.5 + 2 * math.sqrt(0.25 / (2 * half)):
        return fault(
            "verification",
            f"{what}: at chance",
            "labels or pairs shuffled, preprocessing broken, or embeddings collapsed",
            **numbers,
        )
    return ok("verification", what, **numbers)


def gain(found: Measured, name: str, results: Results | None, verdict: Verdict | None) -> list[Finding]:
    """Compared with the raw pixels, by the intervals of both, and with the unadapted backbone by the paired `verdict`.

    A difference that is not shown is only a note.
    """
    if results is None:
        return []
    own = results.benchmarks.get(name)
    findings = []
    if pixels := results.pixels.get(name):
        outcome = apart(_around(pixels), _around(own))
        findings.append(_against("pixels", "raw pixels", found.accuracy - pixels.accuracy, outcome, fault))
    if frozen := results.frozen.get(name):
        outcome = verdict.outcome if verdict else Outcome.UNTESTED
        findings.append(_against("frozen", headline.FROZEN, found.accuracy - frozen.accuracy, outcome, warning))
    return findings


def _around(entry: BenchmarkResult | None) -> Interval | None:
    return entry.intervals.accuracy if entry and entry.intervals and not entry.intervals.few else None


def _against(title: str, shown: str, change: float, outcome: Outcome, worse: Callable[..., Finding]) -> Finding:
    """change: of the accuracy. worse: the severity of a significant loss."""
    check, what = f"over {title}", f"accuracy {100 * change:+z.2f} points over {shown}: {outcome}"
    if outcome == Outcome.RAISED:
        return ok(check, what, gain=change)
    if outcome in (Outcome.LOWERED, Outcome.MIXED):
        return worse(check, what, "try another learning rate, more steps or images; do the labels match the images?")
    if outcome == Outcome.NOT_SHOWN:
        return note(check, what, "train longer, tune the rate, or verify on more people")
    return note(check, what, "verify on more people" if outcome == Outcome.FEW else "no scores or intervals are stored")


def overfitting(rows: Rows, name: str, pairs: int | None) -> Finding | None:
    """Accuracy that falls along with the training loss."""
    steps, accuracy = column(rows, f"eval/{name}/accuracy")
    if len(accuracy) < 3:
        return None
    best = int(np.argmax(accuracy))
    fall = float(accuracy[best] - accuracy[-1])
    noise = 2 * math.sqrt(max(accuracy[best] * (1 - accuracy[best]), 1e-4) / (pairs or 300))
    loss_steps, loss = column(rows, "train/loss")
    since = loss[(loss_steps >= steps[best]) & np.isfinite(loss)]
    falling = len(since) > 1 and ends(since)[1] < ends(since)[0]
    what = f"best {100 * accuracy[best]:.2f}% at step {steps[best]:,}, now {100 * accuracy[-1]:.2f}%"
    if fall > noise and falling:
        return warning(
            "course",
            f"{what} while the training loss falls: overfitting",
            "train less, lower the rate or adapter.rank, augment more; `evaluate` uses the best step",
        )
    if fall > noise:
        return warning("course", f"{what}", "it got worse: lower train.learning_rate; `evaluate` uses the best step")
    return ok("course", what)
