"""Paired tests in words and tables: whether two models really differ on the pairs that both judged."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np

from adaptface_jax.evaluation.pair_scores import PairScores
from adaptface_jax.evaluation.statistics.jackknife import FEW
from adaptface_jax.evaluation.statistics.paired_test import Comparison, compare
from adaptface_jax.report.tables import Markup, area_change, counted, p_value, points, signed, table

LEVEL = 0.05
Kept = Mapping[str, PairScores]


def same_pairs(first: PairScores, second: PairScores) -> bool:
    return np.array_equal(first.index, second.index) and np.array_equal(first.issame, second.issame)


def verdict(found: Comparison, p: float) -> str:
    """What may be said of a difference."""
    return "too few people" if found.few else "real" if p < LEVEL else "may be chance"


def against_frozen(frozen: Kept, adapted: Kept) -> str:
    """Whether the adapted model differs from the frozen backbone, an HTML sentence a benchmark; "" if unknown."""
    said = []
    for name, scores in adapted.items():
        if name not in frozen or not same_pairs(frozen[name], scores):
            continue
        found = compare(frozen[name], scores)
        low, high = found.accuracy_interval
        where = f"on {escape(name)} the" if len(adapted) > 1 else "the"
        rests = f"{found.pairs:,} pairs of {found.people:,} people"
        if found.few:
            sentence = f"{rests} are too few people to say whether {where} difference is real: "
            sentence += f"{signed(low)} to {signed(high)} points at 95%."
        else:
            real = "is real" if found.accuracy_p < LEVEL else "may be chance"
            sentence = f"{where[0].upper() + where[1:]} difference {real}: {signed(low)} to {signed(high)} points at "
            sentence += f"95%, {p_value(found.accuracy_p)}, over {rests}."
        said.append(sentence)
    return " ".join(said)


def paired_tables(scores: Mapping[str, Kept], benchmarks: Sequence[str]) -> str:
    """For each benchmark, every two runs that judged the same pairs. HTML."""
    parts, tests = [], 0
    for benchmark in benchmarks:
        found = [
            (f"{first} → {second}", compare(of_first[benchmark], of_second[benchmark]))
            for (first, of_first), (second, of_second) in itertools.combinations(scores.items(), 2)
            if benchmark in of_first and benchmark in of_second
            if same_pairs(of_first[benchmark], of_second[benchmark])
        ]
        tests += count(found)
        if found:
            parts.append(comparison_table(f"{benchmark}: second minus first", "runs", found))
    if not parts:
        return '<p class="lead">No two runs have kept scores of the same pairs, so nothing can be tested.</p>'
    small_p = "these two models differ on such people; another seed of the same recipe differs"
    return "".join(parts) + note(tests, small_p)


def count(found: Iterable[tuple[str, Comparison]]) -> int:
    """How many tests they are, with those of their domains."""
    return sum(1 + len(comparison.domains) for _, comparison in found)


def comparison_table(caption: str, what: str, found: Iterable[tuple[str, Comparison]]) -> str:
    """A row a comparison, each followed by its domains."""
    rows = []
    for name, comparison in found:
        rows.append(("", _row(name, comparison)))
        rows += [("", _row(f"{name}: {domain}", of_domain)) for domain, of_domain in comparison.domains.items()]
    titles = [what, "pairs", "accuracy, points", "p", "", "only the first right", "only the second", "AUC", "p", ""]
    return table(caption, titles, rows)


def note(tests: int, small_p: str) -> str:
    """tests: how many stand above. small_p: what a small p-value says, and what differs too."""
    chance = f" Of {tests} tests about {LEVEL * tests:.1f} call a mere chance real." if tests > 1 else ""
    return (
        '<p class="note">Both judged the same pairs. What each pair adds to the difference is summed by person, so not '
        "pairs but people are taken for independent (jackknife over people, Student's t). Small figures are 95% "
        f"intervals; under the pairs stands how many people they rest on: {FEW} or fewer are too few to say. A small "
        f"p says that {small_p} too.{chance}</p>"
    )


def _row(name: str, found: Comparison) -> list[str]:
    low, high = found.accuracy_interval
    return [
        name,
        counted(found.pairs, f"{found.people:,} people"),
        Markup(f"{points(found.accuracy_difference)}<small>{signed(low)} to {signed(high)}</small>"),
        p_value(found.accuracy_p).removeprefix("p = ").removeprefix("p "),
        _chip(verdict(found, found.accuracy_p)),
        f"{found.only_first:,}",
        f"{found.only_second:,}",
        area_change(found.auc_difference, found.auc_interval),
        p_value(found.auc_p).removeprefix("p = ").removeprefix("p "),
        _chip(verdict(found, found.auc_p)),
    ]


def _chip(said: str) -> str:
    return Markup(f'<span class="chip {"ok" if said == "real" else ""}">{said}</span>')
