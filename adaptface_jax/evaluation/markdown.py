# SPDX-License-Identifier: Apache-2.0
"""The results of a run as Markdown tables, for the terminal and for `results.md`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from adaptface_jax.core.text import plural
from adaptface_jax.evaluation.cells import Cell, by_conditions, condition_names
from adaptface_jax.evaluation.gates import GateReport
from adaptface_jax.evaluation.headline import LABELS, by_domain, detail, headline, of_all, on_generated
from adaptface_jax.evaluation.markdown_tables import area, ends, facts, parameters_table, percent, table
from adaptface_jax.evaluation.published_results import FIVE, PUBLISHED, average, by_category, of_five
from adaptface_jax.evaluation.results import BenchmarkResult, BenchmarkResults, Results
from adaptface_jax.evaluation.statistics.verdict import Outcome, Verdict, judged
from adaptface_jax.training.recognition.facts import RunFacts

Part = tuple[str, str]  # a heading, and the text below it


def results_markdown(results: Results) -> str:
    """The whole page."""
    parts = [*benchmark_parts(results), *comparison_parts(results), *domain_parts(results)]
    if results.parameters:
        parts.append(("Parameters", parameters_table(results.parameters)))
    if results.environment:
        parts.append(("Versions and machine", facts(results.environment)))
    return page("Face verification", [*verdict_lines(results), _run(results.run), *headed(parts)])


def page(title: str, sections: Iterable[str]) -> str:
    """A document of the sections that are not empty."""
    return "\n\n".join(section for section in (f"# {title}", *sections) if section) + "\n"


def headed(parts: Iterable[Part], level: int = 2) -> Iterator[str]:
    """Parts under headings of the given level."""
    for title, text in parts:
        yield f"{'#' * level} {title}\n\n{text}"


def benchmark_parts(results: Results) -> Iterator[Part]:
    """The results on each benchmark."""
    yield "Benchmarks", benchmark_table(results.benchmarks) if results.benchmarks else "No benchmark was given."


def comparison_parts(results: Results) -> Iterator[Part]:
    """The same compared with published results, and with those of raw pixels and of the frozen backbone."""
    benchmarks, before = results.benchmarks, _before(results)
    if of_five(benchmarks):
        yield "Published results", published_table(benchmarks)
    if before and benchmarks:
        shown = comparison_table(before, benchmarks, judged(results.changes))
        yield f"{' and '.join(before).capitalize()} against adapted", shown


def domain_parts(results: Results) -> Iterator[Part]:
    """Results by domain, by condition and by gate, of each benchmark that has these."""
    frozen, verdicts = results.frozen, judged(results.changes)
    for name, entry in results.benchmarks.items():
        if entry.domains:
            yield f"{name} by domain", domain_table(entry, frozen.get(name), verdicts.get(name))
        if entry.cells:
            shown = conditions_table(entry.cells, frozen[name].cells if name in frozen else ())
            yield f"{name} by condition", f"{shown}\n\n{_CELLS_NOTE}"
        if entry.gates:
            yield f"{name}: gates by true domain", f"{gate_table(entry.gates)}\n\n{_gate_note(entry.gates)}"
        elif entry.gate_mean:
            mean = ", ".join(f"{value:.3f}" for value in entry.gate_mean)
            yield f"{name}: gates", f"The mean gate is {mean}; the images' domains are not known."


def _before(results: Results) -> dict[str, BenchmarkResults]:
    """The baselines by name: those of the two that were measured."""
    return {title: found for title, found in (("pixels", results.pixels), ("frozen", results.frozen)) if found}


def verdict_lines(results: Results) -> list[str]:
    """Whether the adapted model differs from the frozen backbone, in a sentence that is set off only if a difference
    is shown, then its details; the limits of results on synthetic faces. Empty without a baseline."""
    said = on_generated(results.generated, results.benchmarks)
    lines = [f"> {said}"] if said else []
    if not results.benchmarks or not results.frozen:
        return lines
    verdicts = judged(results.changes)
    label = LABELS.get(results.run.adapter, "training") if results.run else "training"
    sentence = headline(label[:1].upper() + label[1:], verdicts)
    lines.append(f"**{sentence}**" if of_all(verdicts).shown else sentence)
    for name, verdict in verdicts.items():
        lines.append(" ".join(filter(None, (f"{name}:", detail(verdict), by_domain(verdict)))))
    return lines


def benchmark_rows(benchmarks: BenchmarkResults) -> tuple[list[str], list[list[str]]]:
    """Titles, and one row per benchmark."""
    targets = list(dict.fromkeys(far for entry in benchmarks.values() for far in entry.tar_at_far))
    titles = [
        "benchmark",
        "pairs",
        "accuracy",
        "95% interval",
        "over",
        "std",
        "AUC",
        "EER",
        *[f"TAR@FAR {far}" for far in targets],
        "best-threshold accuracy",
        "threshold",
    ]
    rows = [
        [
            name,
            str(entry.pairs),
            percent(entry.accuracy),
            ends(entry.intervals.accuracy if entry.intervals else None),
            entry.intervals.resting_on if entry.intervals else "",
            percent(entry.accuracy_std),
            area(entry.auc),
            percent(entry.eer),
            *[percent(entry.tar_at_far.get(far)) for far in targets],
            percent(entry.best_threshold_accuracy),
            f"{entry.threshold:.3f}",
        ]
        for name, entry in benchmarks.items()
    ]
    return titles, rows


def benchmark_table(benchmarks: BenchmarkResults) -> str:
    """One row per benchmark, and their means, by category and over all, if there are several."""
    titles, rows = benchmark_rows(benchmarks)
    for name, entries in means(benchmarks).items():
        figures = [
            percent(_mean([entry.accuracy for entry in entries])),
            "",
            "",
            "",
            area(_mean([entry.auc for entry in entries])),
        ]
        rest = [""] * (len(titles) - len(figures) - 3)
        rows.append([name, "", *figures, percent(_mean([entry.eer for entry in entries])), *rest])
    note = (
        "Accuracy is the mean over folds, each at the threshold of the others. Best-threshold accuracy is chosen"
        " on the pairs that it is measured on: an upper bound. n/a: fewer than 10 false accepts are expected."
        " Intervals are over people, not pairs."
    )
    return table(titles, rows) + "\n\n" + note


def means(benchmarks: BenchmarkResults) -> dict[str, list[BenchmarkResult]]:
    """Name of a mean -> the entries it is over, more than one: of each category, then all of them."""
    groups = {f"mean, {category}": list(members.values()) for category, members in by_category(benchmarks).items()}
    if len(benchmarks) > 1:
        groups["mean"] = list(benchmarks.values())
    return {name: entries for name, entries in groups.items() if len(entries) > 1}


def published_table(benchmarks: BenchmarkResults) -> str:
    """This run among published results, in percent; an average is over all five benchmarks, or n/a."""
    own, total = of_five(benchmarks), average(benchmarks)
    figures = [f"{own[known]:.2f}" if known in own else "" for known in FIVE]
    rows = [["this run", *figures, "n/a" if total is None else f"{total:.2f}", ""]]
    for row in PUBLISHED:
        figures = [f"{value:.2f}" for value in row.accuracies] or [""] * len(FIVE)
        source = f"{row.source}; {row.note}" if row.note else row.source
        rows.append([row.name, *figures, f"{row.average:.2f}", source])
    return table(["", *[name for name, _ in FIVE.values()], "average", "source"], rows)


def comparison_table(
    before: Mapping[str, BenchmarkResults], adapted: BenchmarkResults, verdicts: Mapping[str, Verdict]
) -> str:
    """Each of `before` (title -> benchmark name -> entry) compared with the adapted model.

    One row per benchmark; the gain, in points of accuracy, is over the last of `before`, and so is the verdict.
    """
    rows = []
    for name, after in adapted.items():
        entries = [others.get(name) for others in before.values()]
        last = entries[-1]
        gain = f"{100 * (after.accuracy - last.accuracy):+z.2f}" if last else "n/a"
        accuracies = [percent(entry.accuracy if entry else None) for entry in [*entries, after]]
        areas = [area(entry.auc if entry else None) for entry in [*entries, after]]
        rows.append([name, *accuracies, gain, *areas, _outcome(verdicts.get(name))])
    first, *others = before
    titles = [f"accuracy, {first}", *others, "adapted", "gain", f"AUC, {first}", *others, "adapted", "verdict"]
    return table(["benchmark", *titles], rows)


def _outcome(verdict: Verdict | None) -> str:
    return verdict.outcome if verdict else Outcome.UNTESTED


def domain_table(
    adapted: BenchmarkResult, frozen: BenchmarkResult | None = None, verdict: Verdict | None = None
) -> str:
    """One row per domain of one benchmark's entry, compared with the frozen one's if given."""
    domains, before = adapted.domains, frozen.domains if frozen else {}
    rows = []
    for name, entry in domains.items():
        row = [name, str(entry.pairs)]
        if before:
            row += _change(before[name].accuracy, entry.accuracy) if name in before else ["", "", ""]
        else:
            row.append(percent(entry.accuracy))
        around = entry.intervals
        row += [ends(around.accuracy if around else None), area(entry.auc)]
        row.append("n/a" if around is None or around.auc is None else "{:.4f} to {:.4f}".format(*around.auc))
        row.append(around.resting_on if around else "")
        rows.append([*row, *([_outcome(verdict.domains.get(name) if verdict else None)] if before else [])])
    accuracy = ["accuracy, frozen", "adapted", "gain"] if before else ["accuracy"]
    titles = ["domain", "pairs", *accuracy, "95% interval", "AUC", "95% interval", "over"]
    return table([*titles, *(["verdict"] if before else [])], rows)


def conditions_table(cells: Sequence[Cell], frozen: Sequence[Cell] = ()) -> str:
    """A matrix, the upper triangle: accuracy, AUC, their gains over the frozen backbone in points, and the pairs."""
    names, before = condition_names(cells), by_conditions(frozen)
    texts = {key: _cell(cell, before.get(key)) for key, cell in by_conditions(cells).items()}
    return table(["", *names], [[row, *[texts.get((row, column), "") for column in names]] for row in names])


_CELLS_NOTE = (
    "Accuracy and AUC of the pairs of an image of one condition and an image of another; in parentheses the gain over"
    " frozen in points. An image of several conditions counts in each. n/a: pairs of one kind only."
)


def _cell(cell: Cell, before: Cell | None) -> str:
    found, start = cell.figures, before.figures if before else None
    if found.auc is None:
        return f"n/a, {plural(found.pairs, 'pair')}"
    gains = ["", ""]
    if start and start.auc is not None:
        gains = [f" ({100 * change:+z.2f})" for change in (found.accuracy - start.accuracy, found.auc - start.auc)]
    around = found.intervals
    bounds = ["", ""]
    if around and around.auc:
        bounds = [f" [{ends(around.accuracy)}]", " [{:.3f} to {:.3f}]".format(*around.auc)]
    rests = f", {around.resting_on}" if around else ""
    figures = f"{percent(found.accuracy)}{bounds[0]}{gains[0]}, {area(found.auc)}{bounds[1]}{gains[1]}"
    return f"{figures}, {plural(found.pairs, 'pair')}{rests}"


def gate_table(gates: GateReport) -> str:
    """The mean gate of each true domain."""
    experts = len(next(iter(gates.mean.values())))
    rows = [[name, *[f"{value:.3f}" for value in mean]] for name, mean in gates.mean.items()]
    return table(["true domain", *[f"gate {expert}" for expert in range(experts)]], rows)


def _gate_note(gates: GateReport) -> str:
    return (
        f"The largest gate is the true domain's for {percent(gates.agreement)} of {plural(gates.images, 'image')}"
        f" ({percent(gates.matched_agreement)} under the best matching of gates with domains);"
        f" mean entropy {gates.entropy:.3f} nats."
    )


def _run(run: RunFacts | None) -> str:
    return "" if run is None else facts({name.replace("_", " "): value for name, value in vars(run).items()})


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _change(before: float, after: float) -> list[str]:
    return [percent(before), percent(after), f"{100 * (after - before):+z.2f}"]
