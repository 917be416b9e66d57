"""The gates of DA-LoRA: which expert is active for which images, and how that developed in training."""

from __future__ import annotations

import math
from collections.abc import Sequence

from adaptface_jax.checks.run.history import GATE_TAG, column
from adaptface_jax.checks.run.records import FaceRun
from adaptface_jax.evaluation.plots import paint
from adaptface_jax.evaluation.results import BenchmarkResults
from adaptface_jax.report.charts import Line, curves, shares
from adaptface_jax.report.tables import NONE, percent, table


def gates_section(run: FaceRun, benchmarks: BenchmarkResults) -> str:
    """The section's HTML; empty if the run has no gates."""
    experts = run.config.adapter.num_domains
    if run.config.adapter.kind != "dalora":
        return ""
    names = [f"expert {k}" for k in range(experts)]
    if run.config.adapter.null_expert:
        names[-1] = "frozen model"
    mean: dict[str, Sequence[float]] = {}
    active: dict[str, Sequence[float]] = {}
    several = len(benchmarks) > 1
    for name, entry in benchmarks.items():
        if entry.gate_usage:
            label = name if several else "all images"
            mean[label], active[label] = entry.gate_mean, entry.gate_usage
        if entry.gates is None:
            continue
        for domain, values in entry.gates.mean.items():
            label = f"{name}: {domain}" if several else domain
            mean[label], active[label] = values, entry.gates.usage[domain]
    charts = []
    if active:
        note = "Share of images with the largest gate for this expert."
        charts.append(shares("Which expert is active", active, names, note))
    if mean:
        charts.append(shares("Mean gate", mean, names))
    lines = [
        Line(name, *column(run.rows, f"{GATE_TAG}{k}"), paint(k))
        for k, name in enumerate(names)
        if len(column(run.rows, f"{GATE_TAG}{k}")[0])
    ]
    charts.append(curves("Mean gate in training", lines, as_percent=True, smooth=True, from_zero=True))
    entropy = Line("entropy", *column(run.rows, "train/gate/entropy"), "main")
    if len(entropy.x):
        charts.append(
            curves(
                f"Entropy in training, nats (at most {math.log(experts):.2f})", [entropy], smooth=True, from_zero=True
            )
        )
    lead = (
        "Each image weights the experts by its own gates. Entropy is 0 if a single expert is used and "
        f"{math.log(experts):.2f} if all {experts} have equal weight."
    )
    return f'<p class="lead">{lead}</p><div class="charts">{"".join(charts)}</div>{_table(benchmarks, experts)}'


def _table(benchmarks: BenchmarkResults, experts: int) -> str:
    rows = []
    for name, entry in benchmarks.items():
        if entry.gate_entropy is None:
            continue
        known = entry.gates
        cells = [
            name,
            " / ".join(f"{100 * value:.0f}%" for value in entry.gate_usage),
            f"{entry.gate_entropy:.3f}",
            percent(known.agreement if known else None),
            percent(known.matched_agreement if known else None),
            f"{known.images:,}" if known else NONE,
        ]
        rows.append(("", cells))
    if not rows:
        return ""
    titles = ["benchmark", "usage of the experts", "entropy", "agreement", "best matching", "labeled images"]
    note = (
        '<p class="note">Agreement: the largest gate is that of the image\'s true domain, by number, and under the '
        f"best one-to-one matching. Chance is {100 / experts:.0f}%.</p>"
    )
    return table("Gates by benchmark", titles, rows) + note
