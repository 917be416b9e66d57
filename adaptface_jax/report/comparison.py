"""Several face runs side by side: their table, overlaid curves, and whether the differences are significant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from adaptface_jax.checks.run.records import FaceRun
from adaptface_jax.core.text import duration, listed
from adaptface_jax.evaluation.headline import of_all
from adaptface_jax.evaluation.pair_scores import PairScores
from adaptface_jax.evaluation.plots import Curve, paint
from adaptface_jax.evaluation.published_results import average, by_category
from adaptface_jax.evaluation.results import BenchmarkResult, BenchmarkResults, Results
from adaptface_jax.evaluation.roc import roc_curve
from adaptface_jax.evaluation.statistics.verdict import LEVEL, Outcome, Verdict, judged, together
from adaptface_jax.report.about import training_seconds
from adaptface_jax.report.benchmarks import accuracy_interval, generated_note, mark, mean, mean_accuracy, widest
from adaptface_jax.report.charts import curves, dots
from adaptface_jax.report.drawing import roc_chart
from adaptface_jax.report.next_steps import of_several
from adaptface_jax.report.paired_tests import Pair, against, compared, paired_tables
from adaptface_jax.report.recipes import (
    Recipe,
    mean_accuracies,
    recipes_compared,
    recipes_of,
    recipes_section,
)
from adaptface_jax.report.recognition_page import benchmarks_of, label_of
from adaptface_jax.report.side_by_side import TITLE, lines, run_cell, settings_table, title, verdict_chip
from adaptface_jax.report.style import document
from adaptface_jax.report.tables import NONE, between, percent, points, table
from adaptface_jax.report.yardstick import yardstick_section


def comparison_page(named: Mapping[str, FaceRun], links: Mapping[str, str]) -> str:
    """The document for runs by their names. links: the page of each, relative."""
    scores = {name: run.scores.found for name, run in named.items()}
    benchmarks = list(dict.fromkeys(name for run in named.values() for name in benchmarks_of(run)))
    pairs, recipes = compared(scores, benchmarks), recipes_of(named)
    over_seeds = recipes_compared(recipes, scores, benchmarks)
    gains = {(name, where): one.found for name, run in named.items() for where, one in run.verdicts.items()}
    # The error probability of the page is shared by its comparisons: with the frozen backbone, of runs, of recipes.
    level = LEVEL / max(1, sum(map(bool, (gains, pairs, over_seeds.found))))
    over_frozen, verdicts, of_recipes = judged(gains, level), judged(pairs, level), judged(over_seeds.found, level)
    body = [
        title(len(named)),
        generated_note({name for run in named.values() for name in run.generated}, benchmarks),
        headline(named, verdicts, recipes, of_recipes),
        "<h2>Runs</h2>",
        runs_table(named, links, benchmarks, over_frozen),
        settings_table(named),
        yardstick_section(named, benchmarks, verdicts),
        "<h2>Curves</h2>",
        overlaid(named, scores, benchmarks),
    ]
    if len(named) > 1:
        body.append(recipes_section(recipes, named, benchmarks, of_recipes, over_seeds))
        body += ["<h2>Is the difference significant?</h2>", paired_tables(verdicts)]
    body.append(of_several(len(named) > 1))
    return document(TITLE, body)


def headline(
    named: Mapping[str, FaceRun],
    verdicts: Mapping[Pair, Verdict],
    recipes: Sequence[Recipe],
    of_recipes: Mapping[Pair, Verdict],
) -> str:
    """Which run is better than which; if all are seeds of several recipes, which recipe, since a seed is luck. HTML."""
    in_one = {run for recipe in recipes for run in recipe.runs.values()}
    if len(recipes) > 1 and in_one == set(named):
        return ahead({recipe.name: mean_accuracies(recipe, named) for recipe in recipes}, of_recipes, "recipe")
    figures = {name: benchmarks_of(run) for name, run in named.items()}
    accuracies = {name: {b: entry.accuracy for b, entry in found.items()} for name, found in figures.items()}
    return ahead(accuracies, verdicts, "run")


def ahead(accuracies: Mapping[str, Mapping[str, float]], verdicts: Mapping[Pair, Verdict], what: str) -> str:
    """Which is better than which on the benchmarks that all of them share. HTML.

    accuracies: name -> benchmark -> fraction. what: "run" or "recipe".
    """
    finished = {name: found for name, found in accuracies.items() if found}
    if not finished:
        return f'<p class="answer">No {what} has been evaluated yet.</p>'
    shared = sorted(set.intersection(*(set(found) for found in finished.values())))
    if not shared:
        return f'<p class="answer">The {what}s share no benchmark, so they cannot be compared.</p>'
    ranks = {name: mean([found[b] for b in shared]) for name, found in finished.items()}
    first = max(ranks, key=lambda name: ranks[name])
    where = f"on {shared[0]}" if len(shared) == 1 else f"over {len(shared)} shared benchmarks"
    beside: dict[Outcome, list[str]] = {}
    for other in ranks:
        if other != first:
            outcome = together(against(verdicts, benchmark, other, first).outcome for benchmark in shared)
            beside.setdefault(outcome, []).append(other)
    beaten = beside.pop(Outcome.RAISED, [])
    over = " mean over seeds" if what == "recipe" else ""
    highest = f"the highest accuracy {where}, {percent(ranks[first])}{over}"
    if len(ranks) == 1:
        said = f"{escape(first)} has an accuracy of {percent(ranks[first])} {escape(where)}."
    elif beaten:
        whom = listed(beaten) if len(beaten) < 3 else f"{len(beaten)} of {len(ranks) - 1} other {what}s"
        said = f"<b>{escape(first)}</b> is better than {escape(whom)}, and has {escape(highest)}."
    else:
        said = f"No {what} is shown to be better. {escape(first)} has {escape(highest)}."
    rest = "; ".join(f"than {listed(names)} ({outcome})" for outcome, names in beside.items())
    tail = f"<p>It is not shown to be better {escape(rest)}.</p>" if rest else ""
    return f'<p class="answer">{mark(Outcome.RAISED if beaten else Outcome.NOT_SHOWN)}{said}</p>{tail}'


def runs_table(
    named: Mapping[str, FaceRun],
    links: Mapping[str, str],
    benchmarks: Sequence[str],
    over_frozen: Mapping[tuple[str, str], Verdict],
) -> str:
    """One row per run: its adapter, its accuracies, their means, and the gain over its frozen backbone.

    over_frozen: by run and benchmark.
    """
    rows = []
    categories = _shared_categories(named)
    five = any(average(benchmarks_of(run)) is not None for run in named.values())
    for i, (name, run) in enumerate(named.items()):
        entries, results = benchmarks_of(run), run.results or Results({})
        frozen = results.frozen
        both = [b for b in entries if b in frozen]
        gain = mean_accuracy(entries[b] for b in both) - mean_accuracy(frozen[b] for b in both) if both else None
        outcome = of_all({where: one for (of, where), one in over_frozen.items() if of == name})
        cells = [run_cell(name, run, links[name], i), label_of(run).removeprefix("the ")]
        cells += [_accuracy(entries.get(b)) for b in benchmarks]
        cells += [_category(entries, category) for category in categories]
        if five:
            total = average(entries)
            cells.append(NONE if total is None else f"{total:.2f}%")
        seconds = training_seconds(run)
        trainable = [row.trainable for row in results.parameters if row.total is not None]
        cells += [
            points(gain, outcome, outcome) if both else NONE,
            f"{sum(trainable):,}" if trainable else NONE,
            duration(seconds) if seconds else NONE,
            verdict_chip(run),
        ]
        rows.append(("", cells))
    titles = ["run", "adapter", *benchmarks, *[f"mean, {category}" for category in categories]]
    titles += ["average of five"] if five else []
    titles += ["gain over frozen", "trainable", "time in steps", "checks"]
    return table("Accuracy", titles, rows, "", 2)


def _accuracy(entry: BenchmarkResult | None) -> str:
    if entry is None:
        return NONE
    return between(entry.accuracy, accuracy_interval(entry), percent(entry.accuracy))


def _shared_categories(named: Mapping[str, FaceRun]) -> list[str]:
    """Categories of which some run has more than one benchmark: otherwise their mean adds nothing."""
    found: dict[str, None] = {}
    for run in named.values():
        found |= dict.fromkeys(c for c, members in by_category(benchmarks_of(run)).items() if len(members) > 1)
    return list(found)


def _category(entries: BenchmarkResults, category: str) -> str:
    members = by_category(entries).get(category)
    return percent(mean_accuracy(members.values())) if members else NONE


def overlaid(
    named: Mapping[str, FaceRun], scores: Mapping[str, Mapping[str, PairScores]], benchmarks: Sequence[str]
) -> str:
    """Loss, accuracy and ROC of all runs, overlaid."""
    charts = [curves("Training loss", lines(named, "train/loss"), smooth=True)]
    for benchmark in benchmarks:
        charts.append(
            curves(
                f"Accuracy on {benchmark}",
                lines(named, f"eval/{benchmark}/accuracy", marked=True),
                as_percent=True,
                least=widest(found[benchmark] for found in map(benchmarks_of, named.values()) if benchmark in found),
            )
        )
        found = [
            Curve(name, roc_curve(kept[benchmark].distance, kept[benchmark].issame), paint(i))
            for i, (name, kept) in enumerate(scores.items())
            if benchmark in kept
        ]
        if found:
            charts.append(roc_chart(f"True over false accept rate, {benchmark}", found))
    charts.append(by_domain(named))
    return f'<div class="charts">{"".join(chart for chart in charts if chart)}</div>'


def by_domain(named: Mapping[str, FaceRun]) -> str:
    """Accuracy on each benchmark and domain, one dot per run, with the frozen backbone if the runs share it."""
    frozen = [run.results.frozen for run in named.values() if run.results and run.results.frozen]
    shared = frozen[0] if frozen and all(found == frozen[0] for found in frozen) else {}
    sources: dict[str, tuple[BenchmarkResults, str]] = {
        name: (benchmarks_of(run), paint(i)) for i, (name, run) in enumerate(named.items())
    }
    sources = {"frozen backbone": (shared, "base"), **sources}
    rows: dict[str, list[tuple[str, float, str]]] = {}
    for name, (entries, kind) in sources.items():
        for benchmark, entry in entries.items():
            rows.setdefault(benchmark, []).append((name, entry.accuracy, kind))
            for domain, found in entry.domains.items():
                rows.setdefault(f"{benchmark}: {domain}", []).append((name, found.accuracy, kind))
    least = widest(entry for entries, _ in sources.values() for entry in entries.values())
    return dots("Accuracy by benchmark and domain", dict(sorted(rows.items())), least=least) if rows else ""
