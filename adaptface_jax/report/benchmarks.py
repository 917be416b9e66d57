"""The figures on the benchmarks: did it help, and where; the tables; beside what others published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from adaptface_jax.evaluation.published_results import FIVE, PUBLISHED, average, of_five
from adaptface_jax.evaluation.results import means
from adaptface_jax.report.charts import Gain, gains
from adaptface_jax.report.tables import NONE, Markup, area, between, percent, points, signed, table

Entries = Mapping[str, Any]


def mean(entries: Sequence[Entries], figure: str = "accuracy") -> float:
    return sum(entry[figure] for entry in entries) / len(entries)


def gain_rows(benchmarks: Entries, frozen: Entries) -> list[Gain]:
    """A row a benchmark that both know, each followed by its domains."""
    rows = []
    for name, entry in benchmarks.items():
        before = frozen.get(name)
        if not before:
            continue
        rows.append(
            Gain(
                name if len(benchmarks) > 1 else "all pairs", before["accuracy"], entry["accuracy"], True,
                interval(before, "accuracy"), interval(entry, "accuracy"),
            )
        )  # fmt: skip
        known = before.get("domains") or {}
        rows += [
            Gain(domain, known[domain]["accuracy"], figures["accuracy"])
            for domain, figures in (entry.get("domains") or {}).items()
            if domain in known
        ]
    return rows


def interval(entry: Entries, figure: str, far: str = "") -> Sequence[float] | None:
    """The 95% interval of a figure, None where none was computed."""
    found = (entry.get("intervals") or {}).get(figure)
    return found.get(far) if far and found else found


def answer(label: str, benchmarks: Entries, results: Entries, tested: str) -> str:
    """The first thing on the page: whether it helped, and on what. HTML.

    tested: what a paired test says of the difference, HTML, or "".
    """
    frozen, pixels = results.get("frozen") or {}, results.get("pixels") or {}
    rows = gain_rows(benchmarks, frozen)
    shared = [name for name in benchmarks if name in frozen]
    after = mean([benchmarks[name] for name in shared or benchmarks])
    tiles = []
    if pixels and all(name in pixels for name in benchmarks):
        tiles.append(_tile("raw pixels", mean([pixels[name] for name in benchmarks])))
    if not shared:
        return f'<p class="answer">{escape(label)} reaches {percent(after)}.</p>'
    before = mean([frozen[name] for name in shared])
    tiles += [_tile("frozen backbone", before), _tile(label, after, "main")]
    change = after - before
    verb = "raised" if change > 0 else "lowered" if change < 0 else "left"
    sentence = f"{escape(label)} {verb} accuracy "
    sentence += f"by <b>{signed(abs(change)).lstrip('+')} points</b>" if change else "where it was"
    sentence += f", from {percent(before)} to {percent(after)}."
    parts = [f'<p class="answer">{sentence}</p>', _where(rows)]
    if tested:
        parts.append(f'<p class="note">{tested}</p>')
    parts.append(f'<ul class="tiles">{"".join(tiles)}</ul>')
    if len(shared) > 1:
        parts.append(f'<p class="note">Means over {len(shared)} benchmarks.</p>')
    chart = gains("Accuracy by domain" if len(rows) > len(shared) else "Accuracy", rows, "frozen backbone", label)
    return f'<div class="hero"><div>{"".join(parts)}</div>{chart}</div>'


def _where(rows: Sequence[Gain]) -> str:
    """Which domain gained most and which least, in words."""
    domains = [row for row in rows if not row.strong] or list(rows)
    if len(domains) < 2:
        return ""
    order = sorted(domains, key=lambda row: row.after - row.before)
    most, least = order[-1], order[0]
    lost = least.after < least.before
    tail = f"it lost on <b>{escape(least.name)}</b>" if lost else f"least on <b>{escape(least.name)}</b>"
    return (
        f"<p>It gained most on <b>{escape(most.name)}</b> ({signed(most.after - most.before)} points) and "
        f"{tail} ({signed(least.after - least.before)}).</p>"
    )


def _tile(name: str, value: float, kind: str = "") -> str:
    css = f' class="{kind}"' if kind else ""
    return f"<li{css}><span>{escape(name)}</span><b>{percent(value)}</b></li>"


def figures_table(benchmarks: Entries) -> str:
    """One row a benchmark, then the means by category and over all."""
    known = [entry["tar_at_far"] for entry in benchmarks.values()]
    everything = list(dict.fromkeys(far for rates in known for far in rates))
    targets = [far for far in everything if any(rates.get(far) is not None for rates in known)]
    rows = [("", _figures(name, entry, targets)) for name, entry in benchmarks.items()]
    groups = means(benchmarks)
    for i, (name, members) in enumerate(groups.items()):
        cells = [name, "", percent(mean(members)), "", area(mean(members, "auc")), percent(mean(members, "eer"))]
        rows.append(("mean" if i == len(groups) - 1 else "group", [*cells, *[""] * (len(targets) + 3)]))
    titles = ["benchmark", "pairs", "accuracy", "std", "AUC", "EER", *[f"TAR @ {far}" for far in targets]]
    missing = [far for far in everything if far not in targets]
    few = f" No TAR at {', '.join(missing)}: fewer than 10 false accepts are expected there." if missing else ""
    note = (
        '<p class="note">Accuracy is the mean over ten folds, each judged at the threshold of the other nine. Small '
        f"figures are 95% intervals. The best threshold is chosen on these very pairs: an upper bound.{few}</p>"
    )
    return table("Verification", [*titles, "d\N{PRIME}", "best threshold", "threshold"], rows) + note


def _figures(name: str, entry: Entries, targets: Sequence[str]) -> list[str]:
    accuracy, auc = entry["accuracy"], entry["auc"]
    d_prime = entry.get("d_prime")
    around = interval(entry, "auc")
    return [
        name,
        f"{entry['pairs']:,}",
        between(accuracy, interval(entry, "accuracy"), percent(accuracy)),
        percent(entry["accuracy_std"]),
        Markup(f"{area(auc)}<small>{around[0]:.3f} to {around[1]:.3f}</small>") if around else area(auc),
        percent(entry["eer"]),
        *[
            between(
                entry["tar_at_far"].get(far), interval(entry, "tar_at_far", far), percent(entry["tar_at_far"].get(far))
            )
            for far in targets
        ],
        NONE if d_prime is None else f"{d_prime:.2f}",
        percent(entry["best_threshold_accuracy"]),
        f"{entry['threshold']:.3f}",
    ]


def domains_table(benchmarks: Entries, frozen: Entries) -> str:
    """One row a domain of each benchmark that knows them."""
    rows = []
    for name, entry in benchmarks.items():
        before = (frozen.get(name) or {}).get("domains") or {}
        for domain, figures in (entry.get("domains") or {}).items():
            start = before.get(domain)
            label = f"{name}: {domain}" if len(benchmarks) > 1 else domain
            change = figures["accuracy"] - start["accuracy"] if start else None
            rows.append(
                (
                    "",
                    [
                        label, f"{figures['pairs']:,}", percent(start["accuracy"] if start else None),
                        percent(figures["accuracy"]), points(change), area(start["auc"] if start else None),
                        area(figures["auc"]),
                    ],
                )
            )  # fmt: skip
    if not rows:
        return ""
    titles = ["domain", "pairs", "accuracy, frozen", "adapted", "gain, points", "AUC, frozen", "adapted"]
    return table("By domain", titles, rows)


def published_table(label: str, benchmarks: Entries) -> str:
    """This run among what others published; averages stand beside averages only."""
    own, total = of_five(benchmarks), average(benchmarks)
    names = [name for name, _ in FIVE.values()]
    rows: list[tuple[str, list[str]]] = []
    if own:
        cells = [f"{own[known]:.2f}" if known in own else "" for known in FIVE]
        rows.append(("this", [f"this run: {label}", *cells, NONE if total is None else f"{total:.2f}", ""]))
    for row in PUBLISHED:
        cells = [f"{value:.2f}" for value in row.figures] or [""] * len(FIVE)
        source = Markup(escape(row.source) + (f"<small>{escape(row.note)}</small>" if row.note else ""))
        rows.append(("", [row.name, *cells, f"{row.average:.2f}", source]))
    shown = table("Accuracy in percent", ["", *names, "average", "source"], rows, "wrap")
    if not own:
        return (
            f'<p class="lead">None of {", ".join(names)} was measured in this run, so nothing is comparable.</p>'
            f"<details><summary>The published figures</summary>{shown}</details>"
        )
    missing = [FIVE[known][0] for known in FIVE if known not in own]
    remark = (
        f'<p class="lead">The average needs all five; {", ".join(missing)} {"is" if len(missing) == 1 else "are"} '
        "missing here.</p>"
        if missing
        else '<p class="lead">Averages are over all five benchmarks.</p>'
    )
    return remark + shown
