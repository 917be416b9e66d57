"""Tables of paired tests: whether two models differ significantly on the same pairs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence

from adaptface_jax.core.text import signed, signed_area
from adaptface_jax.evaluation.pair_scores import PairScores
from adaptface_jax.evaluation.statistics.jackknife import FEW
from adaptface_jax.evaluation.statistics.paired_test import Comparison, compare, same_pairs
from adaptface_jax.evaluation.statistics.verdict import LEVEL, Outcome, Verdict, count_tests, together
from adaptface_jax.report.tables import PAINTS, Markup, colored, counted, p_value, points, table

MANY = 4  # from this number of models on their comparisons are a matrix
Kept = Mapping[str, PairScores]
Pair = tuple[str, str, str]  # benchmark, first, second


def compared(scores: Mapping[str, Kept], benchmarks: Sequence[str]) -> dict[Pair, Comparison]:
    """For each benchmark, every two runs with scores of the same pairs."""
    return {
        (benchmark, first, second): compare(scores[first][benchmark], scores[second][benchmark])
        for benchmark in benchmarks
        for first, second in itertools.combinations(scores, 2)
        if benchmark in scores[first] and benchmark in scores[second]
        if same_pairs(scores[first][benchmark], scores[second][benchmark])
    }


@dataclasses.dataclass(frozen=True)
class Shown:
    """The verdict on the second run minus the first, for accuracy, and for both metrics together."""

    accuracy: Outcome = Outcome.UNTESTED
    auc: Outcome = Outcome.UNTESTED

    @property
    def outcome(self) -> Outcome:
        return together((self.accuracy, self.auc))


def against(found: Mapping[Pair, Verdict], benchmark: str, first: str, second: str) -> Shown:
    """The verdict on two runs, in whichever order they were compared."""
    if straight := found.get((benchmark, first, second)):
        return Shown(straight.accuracy, straight.auc)
    if turned := found.get((benchmark, second, first)):
        return Shown(turned.accuracy.turned, turned.auc.turned)
    return Shown()


def paired_tables(found: Mapping[Pair, Verdict]) -> str:
    """The tables, benchmark by benchmark. HTML."""
    if not found:
        return '<p class="lead">No two runs have stored scores of the same pairs, so nothing can be tested.</p>'
    small_p = "these two models differ on such people; another seed of the same recipe may differ"
    return comparison_tables("second minus first", "runs", found) + note(found.values(), small_p)


def comparison_tables(caption: str, what: str, found: Mapping[Pair, Verdict]) -> str:
    """For each benchmark one row per comparison, its domains collapsed below; of many the matrix first, rows collapsed.

    what: what is compared, in the plural. HTML.
    """
    parts = []
    for benchmark in dict.fromkeys(benchmark for benchmark, _, _ in found):
        pairs = {(first, second): one for (where, first, second), one in found.items() if where == benchmark}
        names = list(dict.fromkeys(itertools.chain(*pairs)))
        rows = {f"{first} → {second}": verdict for (first, second), verdict in pairs.items()}
        whole = _comparison_table(f"{benchmark}: {caption}", what, rows)
        if len(names) < MANY:
            parts.append(whole)
            continue
        parts.append(_matrix(f"{benchmark}: row minus column, points (AUC below)", what, pairs))
        parts.append(f"<details><summary>All {len(rows)} comparisons with their intervals</summary>{whole}</details>")
    return "".join(parts)


def _matrix(caption: str, what: str, pairs: Mapping[tuple[str, str], Verdict]) -> str:
    """Each of them against each other; the columns are numbered, since names are long."""
    names = list(dict.fromkeys(itertools.chain(*pairs)))
    numbered = {name: str(number) for number, name in enumerate(names, 1)}
    rows: list[tuple[str, Sequence[str]]] = []
    for row in names:
        cells = [f"{numbered[row]} {row}"]
        cells += [_cell_of(pairs.get((column, row)), pairs.get((row, column))) for column in names]
        rows.append(("", cells))
    return table(caption, [what, *numbered.values()], rows)


def _cell_of(straight: Verdict | None, turned: Verdict | None) -> str:
    """A cell of the matrix: a comparison as it was made, or its opposite."""
    if straight:
        accuracy, auc = straight.found.accuracy_difference, straight.found.auc_difference
        shown = straight.accuracy, straight.auc
    elif turned:
        accuracy, auc = -turned.found.accuracy_difference, -turned.found.auc_difference
        shown = turned.accuracy.turned, turned.auc.turned
    else:
        return ""
    area = colored(signed_area(auc), shown[1])
    return Markup(f"{points(accuracy, shown[0])}<small>{area}</small>")


def _comparison_table(caption: str, what: str, found: Mapping[str, Verdict]) -> str:
    titles = [
        what,
        "pairs",
        "verdict",
        "accuracy, points",
        "p",
        "only the first correct",
        "only the second",
        "AUC",
        "p",
    ]
    whole = table(caption, titles, [("", _row(name, verdict)) for name, verdict in found.items()])
    domains = {f"{name}: {domain}": one for name, verdict in found.items() for domain, one in verdict.domains.items()}
    if not domains:
        return whole
    shown = sum(verdict.outcome.shown for verdict in domains.values())
    folded = table(f"{caption}, domain by domain", titles, [("", _row(name, one)) for name, one in domains.items()])
    said = f"Domain by domain: {shown or 'none'} of {len(domains)} {'shows' if shown < 2 else 'show'} a difference"
    return f"{whole}<details><summary>{said}</summary>{folded}</details>"


def note(found: Iterable[Verdict], small_p: str) -> str:
    """found: all comparisons above. small_p: what a small p-value means, and its limits."""
    return (
        '<p class="note">Both were evaluated on the same pairs. The effect of each pair on the difference is summed by '
        "person, so people, not pairs, are assumed independent (jackknife over people, Student's t). Small numbers are "
        f"95% intervals; below the pairs is the number of people: {FEW} or fewer are too few to tell. A small "
        f"p means that {small_p} too. {held_together(count_tests(found))}</p>"
    )


def held_together(number: int) -> str:
    """Why "no difference shown" is possible with a small p, or an interval without 0."""
    if number < 2:
        return ""
    return (
        f"Verdicts are corrected for all {number:,} tests together (Holm's method): of {round(1 / LEVEL)} such pages "
        "without any true difference one shows one. So a single interval may exclude 0 although no difference is shown."
    )


def _row(name: str, verdict: Verdict) -> list[str]:
    found = verdict.found
    return [
        name,
        counted(found.pairs, f"{found.people:,} people"),
        chip(verdict.outcome),
        points(found.accuracy_difference, verdict.accuracy, " to ".join(map(signed, found.accuracy_interval))),
        _p(found.accuracy_p),
        f"{found.only_first:,}",
        f"{found.only_second:,}",
        colored(signed_area(found.auc_difference), verdict.auc, " to ".join(map(signed_area, found.auc_interval))),
        _p(found.auc_p),
    ]


def _p(value: float) -> str:
    return p_value(value).removeprefix("p = ").removeprefix("p ")


def chip(outcome: Outcome) -> str:
    """A verdict in a cell. HTML."""
    return Markup(f'<span class="chip {PAINTS.get(outcome, "quiet")}">{outcome}</span>')
