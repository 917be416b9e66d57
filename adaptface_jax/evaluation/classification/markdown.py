# SPDX-License-Identifier: Apache-2.0
"""`results.md` of a classification run: the report as tables."""

from __future__ import annotations

from collections.abc import Mapping

from adaptface_jax.evaluation.classification.rankings import (
    READABLE,
    by_f1,
    confused_rows,
    extremes,
    judged,
    kind_of_label,
    label_rows,
    splits,
)
from adaptface_jax.evaluation.classification.results import BaselineScore, ClassificationResults, SplitResult
from adaptface_jax.evaluation.markdown_tables import facts, parameters_table, percent, table
from adaptface_jax.training.classification.facts import ClassifierFacts


def classification_markdown(results: ClassificationResults) -> str:
    """The whole page."""
    split, found = judged(results)
    sections = ["# Image classification", _run(results.run), "## Results", headline_table(results)]
    if results.baselines:
        sections += ["## Against baselines", baseline_table(results)]
    one, _ = kind_of_label(found)
    sections += [f"## By {one}, on {split}", label_table(results)]
    if found.confusion:
        sections += [f"## Confusion, on {split}", confusion_table(found)]
    if results.distribution:
        sections += [f"## Share of the images by {one}", distribution_table(results)]
    if results.parameters:
        sections += ["## Parameters", parameters_table(results.parameters)]
    if results.environment:
        sections += ["## Versions and machine", facts(results.environment)]
    return "\n\n".join(section for section in sections if section) + "\n"


def headline_table(results: ClassificationResults) -> str:
    """One row per metric, validation and test side by side."""
    found = splits(results)
    attributes = results.validation.exact_match is not None
    rows = [
        ["images", *[f"{split.images:,}" for split in found.values()]],
        ["loss", *[f"{split.loss:.4f}" for split in found.values()]],
        ["accuracy", *[percent(split.accuracy) for split in found.values()]],
        ["macro F1", *[percent(split.macro_f1) for split in found.values()]],
        *([["exact match", *[percent(split.exact_match) for split in found.values()]]] if attributes else []),
        ["checkpoint", *["n/a" if s.checkpoint is None else f"{s.checkpoint:,}" for s in found.values()]],
    ]
    note = "The checkpoint was chosen on the validation images: an upper bound."
    if results.test:
        note += " The test images were not used for it."
    return table(["", *found], rows) + "\n\n" + note


def split_table(result: SplitResult, baselines: Mapping[str, BaselineScore]) -> str:
    """One split compared with the baselines, then its labels."""
    rows = [
        ["accuracy", percent(result.accuracy), *[percent(entry.accuracy) for entry in baselines.values()]],
        ["macro F1", percent(result.macro_f1), *[percent(entry.macro_f1) for entry in baselines.values()]],
        ["loss", f"{result.loss:.4f}", *[""] * len(baselines)],
    ]
    if result.exact_match is not None:
        rows.append(["exact match", percent(result.exact_match), *[""] * len(baselines)])
    figures = table([f"{result.images:,} images", f"checkpoint {result.checkpoint}", *baselines], rows)
    return figures + "\n\n" + label_table(ClassificationResults(validation=result))


def baseline_table(results: ClassificationResults) -> str:
    """One row per model: accuracy and macro F1, on each split."""
    found = splits(results)
    names = dict.fromkeys(name for known in results.baselines.values() for name in known)
    models: dict[str, list[SplitResult | BaselineScore | None]] = {"this run": list(found.values())}
    models |= {name: [results.baselines.get(split, {}).get(name) for split in found] for name in names}
    rows = []
    for name, scores in models.items():
        accuracy = [percent(score.accuracy if score else None) for score in scores]
        macro_f1 = [percent(score.macro_f1 if score else None) for score in scores]
        rows.append([name, *accuracy, *macro_f1])
    first, *others = found
    return table(["", f"accuracy, {first}", *others, f"macro F1, {first}", *others], rows)


def label_table(results: ClassificationResults) -> str:
    """One row per label, the best F1 first; of many labels the ten best and the ten worst."""
    _, found = judged(results)
    names, hidden = extremes(by_f1(found.labels))
    shown = table(*label_rows(results, names))
    return shown + (f"\n\n{_left_out(hidden, found)}" if hidden else "")


def _left_out(hidden: int, split: SplitResult) -> str:
    return f"The best and the worst; the other {hidden} {kind_of_label(split)[1]} are in results.json."


def confusion_table(split: SplitResult) -> str:
    """Images by true class (row) and predicted class (column); of many classes the most confused pairs."""
    names = list(split.labels)
    if len(names) <= READABLE:
        rows = [[name, *map(str, row)] for name, row in zip(names, split.confusion, strict=True)]
        return table(["true class", *names], rows)
    titles, pairs = confused_rows(split)
    return table(titles, pairs) if pairs else "No image was assigned to a wrong class."


def distribution_table(results: ClassificationResults) -> str:
    """The share of each label in each split, the most frequent first; of many labels the two ends."""
    parts = results.distribution
    first = next(iter(parts.values()))
    names, hidden = extremes(sorted(first, key=lambda name: -first[name]))
    rows = [[name, *[percent(part.get(name)) for part in parts.values()]] for name in names]
    note = "\n\nThe most and the least frequent; the others are in results.json." if hidden else ""
    return table([kind_of_label(results.validation)[0], *parts], rows) + note


def _run(run: ClassifierFacts | None) -> str:
    if run is None:
        return ""
    named = {name.replace("_", " "): value for name, value in vars(run).items() if name != "data"}
    data = {f"{split} data": line for split, line in run.data.items()}
    return facts({"model": named.pop("model"), **data, **named})
