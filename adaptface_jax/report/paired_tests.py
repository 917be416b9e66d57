"""Paired tests in words and tables: whether two models really differ on the pairs that both judged."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from adaptface_jax.evaluation.pair_scores import PairScores
from adaptface_jax.evaluation.statistics.paired_test import Comparison, compare
from adaptface_jax.report.tables import Markup, area_change, p_value, points, signed, table

LEVEL = 0.05
Kept = Mapping[str, PairScores]


def same_pairs(first: PairScores, second: PairScores) -> bool:
    return np.array_equal(first.index, second.index) and np.array_equal(first.issame, second.issame)


def against_frozen(frozen: Kept, adapted: Kept) -> str:
    """Whether the adapted model differs from the frozen backbone, an HTML sentence a benchmark; "" if unknown."""
    said = []
    for name, scores in adapted.items():
        if name not in frozen or not same_pairs(frozen[name], scores):
            continue
        found = compare(frozen[name], scores)
        low, high = found.accuracy_interval
        real = "is real" if found.accuracy_p < LEVEL else "may be chance"
        where = f"On {escape(name)} the" if len(adapted) > 1 else "The"
        said.append(
            f"{where} difference {real}: {signed(low)} to {signed(high)} points at 95%, {p_value(found.accuracy_p)}, "
            f"over {found.pairs:,} pairs."
        )
    return " ".join(said)


def paired_tables(scores: Mapping[str, Kept], benchmarks: Sequence[str]) -> str:
    """For each benchmark, every two runs that judged the same pairs. HTML."""
    parts, tests = [], 0
    for benchmark in benchmarks:
        rows = []
        for (first, of_first), (second, of_second) in itertools.combinations(scores.items(), 2):
            if benchmark not in of_first or benchmark not in of_second:
                continue
            if same_pairs(of_first[benchmark], of_second[benchmark]):
                rows.append(("", _row(first, second, compare(of_first[benchmark], of_second[benchmark]))))
        tests += len(rows)
        if rows:
            titles = [
                "runs",
                "accuracy, points",
                "p",
                "",
                "only the first right",
                "only the second",
                "AUC",
                "p",
            ]
            parts.append(table(f"{benchmark}: second minus first", titles, rows))
    if not parts:
        return '<p class="lead">No two runs have kept scores of the same pairs, so nothing can be tested.</p>'
    chance = f" Of {tests} tests about {LEVEL * tests:.1f} call a mere chance real." if tests > 1 else ""
    note = (
        '<p class="note">Accuracy: exact McNemar test on the pairs that only one of the two judged rightly. AUC: '
        "DeLong. Small figures are 95% intervals. A small p says that these two models differ on such pairs; another "
        f"seed of the same recipe differs too.{chance}</p>"
    )
    return "".join(parts) + note


def _row(first: str, second: str, found: Comparison) -> list[str]:
    low, high = found.accuracy_interval
    real = found.accuracy_p < LEVEL
    verdict = Markup(f'<span class="chip {"ok" if real else ""}">{"real" if real else "may be chance"}</span>')
    return [
        f"{first} → {second}",
        Markup(f"{points(found.accuracy_difference)}<small>{signed(low)} to {signed(high)}</small>"),
        p_value(found.accuracy_p).removeprefix("p = ").removeprefix("p "),
        verdict,
        f"{found.only_first:,}",
        f"{found.only_second:,}",
        area_change(found.auc_difference, found.auc_interval),
        p_value(found.auc_p).removeprefix("p = ").removeprefix("p "),
    ]
