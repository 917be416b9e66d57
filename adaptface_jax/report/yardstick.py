"""Every DA-LoRA compared with the plain LoRA of the same size: the gain from its gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from adaptface_jax.checks.run.records import FaceRun
from adaptface_jax.config.yardstick import is_yardstick, plain_adapter, typed
from adaptface_jax.core.text import signed
from adaptface_jax.evaluation.statistics.verdict import Verdict
from adaptface_jax.report.paired_tests import Pair, against
from adaptface_jax.report.recognition_page import benchmarks_of
from adaptface_jax.report.tables import NONE, points, table


def yardstick_section(named: Mapping[str, FaceRun], benchmarks: Sequence[str], verdicts: Mapping[Pair, Verdict]) -> str:
    """The gain of each DA-LoRA over its yardstick, or how to train that; "" if no run is a DA-LoRA. HTML."""
    rows, missing = [], []
    for name, run in named.items():
        plain = plain_adapter(run.config.adapter)
        if plain is None:
            continue
        found = [other for other, candidate in named.items() if is_yardstick(candidate.config, run.config)]
        rows += [
            ("", [f"{other} \N{RIGHTWARDS ARROW} {name}", *_gains(named, other, name, benchmarks, verdicts)])
            for other in found
        ]
        if not found:
            words = " ".join(f"--config.{setting}={text}" for setting, text in typed(plain).items())
            missing.append(f"{escape(name)} with <code>{escape(words)}</code>")
    parts = []
    if rows:
        titles = ["LoRA of the same size \N{RIGHTWARDS ARROW} DA-LoRA", *benchmarks]
        parts.append(table("Accuracy in points, and below it the AUC times 100", titles, rows))
    if missing:
        parts.append(
            '<p class="note">The plain LoRA of rank K r has as many parameters, but no gates. It is not among '
            f"these runs; train {'; '.join(missing)} to compare (<code>adaptface grid --yardstick</code> does).</p>"
        )
    return f"<h2>The gain from the gates</h2>{''.join(parts)}" if parts else ""


def _gains(
    named: Mapping[str, FaceRun],
    plain: str,
    gated: str,
    benchmarks: Sequence[str],
    verdicts: Mapping[Pair, Verdict],
) -> list[str]:
    first, second = benchmarks_of(named[plain]), benchmarks_of(named[gated])
    cells: list[str] = []
    for name in benchmarks:
        if name not in first or name not in second:
            cells.append(NONE)
            continue
        shown = against(verdicts, name, plain, gated)
        below = f"AUC {signed(second[name].auc - first[name].auc)}: {shown.outcome}"
        cells.append(points(second[name].accuracy - first[name].accuracy, shown.accuracy, below))
    return cells
