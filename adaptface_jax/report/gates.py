"""What the gates of DA-LoRA do: which expert is active for which images, and how that came about."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from adaptface_jax.checks.run.history import GATE_TAG, column
from adaptface_jax.checks.run.records import Run
from adaptface_jax.report.charts import Line, curves, paint, shares
from adaptface_jax.report.tables import NONE, percent, table


def gates(run: Run, benchmarks: Mapping[str, Any]) -> str:
    """The section's HTML; empty where the run has no gates."""
    experts = run.config.adapter.num_domains
    if run.config.adapter.kind != "dalora":
        return ""
    names = [f"expert {k}" for k in range(experts)]
    mean: dict[str, list[float]] = {}
    active: dict[str, list[float]] = {}
    several = len(benchmarks) > 1
    for name, entry in benchmarks.items():
        known = entry.get("gates") or {}
        if "gate_usage" in entry:
            label = name if several else "all images"
            mean[label], active[label] = entry["gate_mean"], entry["gate_usage"]
        for domain, values in known.get("mean", {}).items():
            label = f"{name}: {domain}" if several else domain
            mean[label] = values
            if domain in known.get("usage", {}):
                active[label] = known["usage"][domain]
    charts = []
    if active:
        note = "Share of images whose largest gate is this expert's."
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
        "Each image weighs the experts by its own gates. Entropy is 0 where one expert decides alone and "
        f"{math.log(experts):.2f} where all {experts} count the same."
    )
    return f'<p class="lead">{lead}</p><div class="charts">{"".join(charts)}</div>{_table(benchmarks, experts)}'


def _table(benchmarks: Mapping[str, Any], experts: int) -> str:
    rows = []
    for name, entry in benchmarks.items():
        known = entry.get("gates") or {}
        if "gate_usage" not in entry:
            continue
        usage = " / ".join(f"{100 * value:.0f}%" for value in entry["gate_usage"])
        rows.append(
            (
                "",
                (
                    name, usage, f"{entry['gate_entropy']:.3f}", percent(known.get("agreement")),
                    percent(known.get("matched_agreement")), f"{known['images']:,}" if known else NONE,
                ),
            )
        )  # fmt: skip
    if not rows:
        return ""
    titles = ["benchmark", "usage of the experts", "entropy", "agreement", "best matching", "labelled images"]
    note = (
        '<p class="note">Agreement: the largest gate is that of the image\'s true domain, by number, and under the '
        f"one-to-one matching that suits it best. Chance is {100 / experts:.0f}%.</p>"
    )
    return table("Gates by benchmark", titles, rows) + note
