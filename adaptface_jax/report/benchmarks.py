"""The benchmark results: whether training helped, and where; the tables; comparison with published results."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape

from adaptface_jax.core.text import signed
from adaptface_jax.evaluation.headline import by_domain, detail, headline, of_all, on_generated
from adaptface_jax.evaluation.markdown import means
from adaptface_jax.evaluation.published_results import FIVE, PUBLISHED, average, of_five
from adaptface_jax.evaluation.results import BenchmarkResult, BenchmarkResults, Results
from adaptface_jax.evaluation.statistics.intervals import Interval
from adaptface_jax.evaluation.statistics.jackknife import FEW
from adaptface_jax.evaluation.statistics.verdict import Outcome, Verdict, count_tests
from adaptface_jax.evaluation.verification import DomainVerification
from adaptface_jax.report.charts import Gain, gains
from adaptface_jax.report.paired_tests import chip, held_together
from adaptface_jax.report.tables import (
    NONE,
    PAINTS,
    Markup,
    area,
    area_between,
    between,
    counted,
    percent,
    points,
    table,
)


def mean_accuracy(entries: Iterable[BenchmarkResult]) -> float:
    return mean([entry.accuracy for entry in entries])


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def gain_rows(benchmarks: BenchmarkResults, frozen: BenchmarkResults, verdicts: Mapping[str, Verdict]) -> list[Gain]:
    """One row per benchmark that both have, each followed by its domains."""
    rows = []
    for name, entry in benchmarks.items():
        before, verdict = frozen.get(name), verdicts.get(name)
        if not before:
            continue
        found: list[tuple[str, BenchmarkResult | DomainVerification, BenchmarkResult | DomainVerification, Outcome]] = [
            (name if len(benchmarks) > 1 else "all pairs", before, entry, _of_accuracy(verdict))
        ]
        found += [
            (domain, before.domains[domain], after, _of_accuracy(verdict.domains.get(domain) if verdict else None))
            for domain, after in entry.domains.items()
            if domain in before.domains
        ]
        for title, start, end, outcome in found:
            around = accuracy_interval(start), accuracy_interval(end)
            rows.append(Gain(title, start.accuracy, end.accuracy, end is entry, *around, outcome))
    return rows


def _of_accuracy(verdict: Verdict | None) -> Outcome:
    return verdict.accuracy if verdict else Outcome.UNTESTED


def accuracy_interval(entry: BenchmarkResult | DomainVerification) -> Interval | None:
    """At 95%, None where none was computed."""
    return entry.intervals.accuracy if entry.intervals else None


def widest(entries: Iterable[BenchmarkResult]) -> float:
    """The width of the widest interval of an accuracy, the minimal range of an axis; 0 if none is known."""
    known = [around for entry in entries if (around := accuracy_interval(entry))]
    return max((high - low for low, high in known), default=0.0)


def answer(label: str, results: Results, verdicts: Mapping[str, Verdict]) -> str:
    """The top of the page: whether training helped, and on what. HTML.

    verdicts: for each benchmark against the frozen backbone, if it was tested.
    """
    benchmarks, frozen, pixels = results.benchmarks, results.frozen, results.pixels
    shared = [name for name in benchmarks if name in frozen]
    after = mean_accuracy(benchmarks[name] for name in shared or benchmarks)
    if not shared:
        return f'<p class="answer">{escape(label)} has an accuracy of {percent(after)}.</p>'
    before = mean_accuracy(frozen[name] for name in shared)
    outcome = of_all(verdicts)
    tiles = []
    if pixels and all(name in pixels for name in benchmarks):
        tiles.append(_tile("raw pixels", mean_accuracy(pixels[name] for name in benchmarks)))
    tiles += [_tile("frozen backbone", before), _tile(label, after, "main" if outcome.shown else "")]
    parts = [f'<p class="answer">{mark(outcome)}{escape(headline(label, verdicts))}</p>']
    for name, verdict in verdicts.items():
        where = f"{name}: " if len(verdicts) > 1 else ""
        said = [f"{where}{detail(verdict)}", by_domain(verdict)]
        parts.append(f"<p>{escape(' '.join(filter(None, said)))}</p>")
    parts.append(f'<ul class="tiles">{"".join(tiles)}</ul>')
    if len(shared) > 1:
        parts.append(f'<p class="note">Mean accuracies over {len(shared)} benchmarks.</p>')
    together = held_together(count_tests(verdicts.values()))
    if together:
        parts.append(f'<p class="note">{together}</p>')
    rows = gain_rows(benchmarks, frozen, verdicts)
    chart = gains("Accuracy by domain" if len(rows) > len(shared) else "Accuracy", rows, "frozen backbone", label)
    return f'<div class="hero"><div>{"".join(parts)}</div>{chart}</div>'


def generated_note(generated: Collection[str], benchmarks: Collection[str]) -> str:
    """A banner if the faces of some or all benchmarks are synthetic. HTML."""
    said = on_generated(generated, benchmarks)
    return f'<p class="banner">{escape(said)}</p>' if said else ""


def mark(outcome: Outcome) -> str:
    """The symbol before a headline, which distinguishes gain from loss even without color. HTML."""
    sign = {Outcome.RAISED: "▲", Outcome.LOWERED: "▼", Outcome.MIXED: "◆"}.get(outcome, "○")
    return f'<span class="{PAINTS.get(outcome, "quiet")}" aria-hidden="true">{sign}</span> '


def _tile(name: str, value: float, kind: str = "") -> str:
    css = f' class="{kind}"' if kind else ""
    return f"<li{css}><span>{escape(name)}</span><b>{percent(value)}</b></li>"


def metrics_table(benchmarks: BenchmarkResults) -> str:
    """One row per benchmark, then the means by category and over all."""
    known = [entry.tar_at_far for entry in benchmarks.values()]
    everything = list(dict.fromkeys(far for rates in known for far in rates))
    targets = [far for far in everything if any(rates.get(far) is not None for rates in known)]
    rows = [("", _metric_cells(name, entry, targets)) for name, entry in benchmarks.items()]
    groups = means(benchmarks)
    for i, (name, members) in enumerate(groups.items()):
        cells = [name, "", percent(mean_accuracy(members)), "", area(mean([entry.auc for entry in members]))]
        cells.append(percent(mean([entry.eer for entry in members])))
        rows.append(("mean" if i == len(groups) - 1 else "group", [*cells, *[""] * (len(targets) + 3)]))
    titles = ["benchmark", "pairs", "accuracy", "std", "AUC", "EER", *[f"TAR @ {far}" for far in targets]]
    missing = [far for far in everything if far not in targets]
    few = f" No TAR at {', '.join(missing)}: fewer than 10 false accepts are expected there." if missing else ""
    note = (
        '<p class="note">Accuracy is the mean over ten folds, each evaluated at the threshold of the other nine. Small '
        "numbers are 95% intervals over people, not pairs; below the pairs is the number of people: "
        f"{FEW} or fewer are too few. The best threshold is chosen on these same pairs: an upper bound.{few}</p>"
    )
    return table("Verification", [*titles, "d\N{PRIME}", "best threshold", "threshold"], rows) + note


def _metric_cells(name: str, entry: BenchmarkResult, targets: Sequence[str]) -> list[str]:
    around = entry.intervals
    tars = around.tar_at_far if around else {}
    return [
        name,
        counted(entry.pairs, around.resting_on if around else ""),
        between(entry.accuracy, accuracy_interval(entry), percent(entry.accuracy)),
        percent(entry.accuracy_std),
        area_between(entry.auc, around.auc if around else None),
        between(entry.eer, around.eer if around else None, percent(entry.eer)),
        *[between(entry.tar_at_far.get(far), tars.get(far), percent(entry.tar_at_far.get(far))) for far in targets],
        NONE if entry.d_prime is None else f"{entry.d_prime:.2f}",
        percent(entry.best_threshold_accuracy),
        f"{entry.threshold:.3f}",
    ]


def domains_table(benchmarks: BenchmarkResults, frozen: BenchmarkResults, verdicts: Mapping[str, Verdict]) -> str:
    """One row per domain of each benchmark that has domains."""
    rows = []
    for name, entry in benchmarks.items():
        before = frozen[name].domains if name in frozen else {}
        known = verdicts[name].domains if name in verdicts else {}
        for domain, found in entry.domains.items():
            start, verdict = before.get(domain), known.get(domain)
            around = found.intervals
            ends = " to ".join(map(signed, verdict.found.accuracy_interval)) if verdict else ""
            cells = [
                f"{name}: {domain}" if len(benchmarks) > 1 else domain,
                counted(found.pairs, around.resting_on if around else ""),
                percent(start.accuracy if start else None),
                between(found.accuracy, around.accuracy if around else None, percent(found.accuracy)),
                points(found.accuracy - start.accuracy if start else None, _of_accuracy(verdict), ends),
                area(start.auc if start else None),
                area_between(found.auc, around.auc if around else None),
                chip(verdict.outcome if verdict else Outcome.UNTESTED),
            ]
            rows.append(("", cells))
    if not rows:
        return ""
    titles = ["domain", "pairs", "accuracy, frozen", "adapted", "gain, points", "AUC, frozen", "adapted", "verdict"]
    return table("By domain", titles, rows)


def published_table(label: str, benchmarks: BenchmarkResults) -> str:
    """This run among published results; averages are compared with averages only."""
    own, total = of_five(benchmarks), average(benchmarks)
    names = [name for name, _ in FIVE.values()]
    rows: list[tuple[str, list[str]]] = []
    if own:
        cells = [f"{own[known]:.2f}" if known in own else "" for known in FIVE]
        rows.append(("this", [f"this run: {label}", *cells, NONE if total is None else f"{total:.2f}", ""]))
    for row in PUBLISHED:
        cells = [f"{value:.2f}" for value in row.accuracies] or [""] * len(FIVE)
        source = Markup(escape(row.source) + (f"<small>{escape(row.note)}</small>" if row.note else ""))
        rows.append(("", [row.name, *cells, f"{row.average:.2f}", source]))
    shown = table("Accuracy in percent", ["", *names, "average", "source"], rows, "wrap")
    if not own:
        return (
            f'<p class="lead">None of {", ".join(names)} was evaluated in this run, so nothing is comparable.</p>'
            f"<details><summary>Published results</summary>{shown}</details>"
        )
    missing = [FIVE[known][0] for known in FIVE if known not in own]
    remark = (
        f'<p class="lead">The average needs all five; {", ".join(missing)} {"is" if len(missing) == 1 else "are"} '
        "missing here.</p>"
        if missing
        else '<p class="lead">Averages are over all five benchmarks.</p>'
    )
    return remark + shown
