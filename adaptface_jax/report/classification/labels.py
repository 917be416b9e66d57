"""A classifier label by label: which it recognizes, which it confuses, and how frequent they are."""

from __future__ import annotations

from collections.abc import Sequence

from adaptface_jax.evaluation.classification.rankings import (
    by_f1,
    confused_rows,
    extremes,
    judged,
    kind_of_label,
    label_rows,
    splits,
)
from adaptface_jax.evaluation.classification.results import ClassificationResults, SplitResult
from adaptface_jax.report.charts import dots
from adaptface_jax.report.drawing import confusion_chart
from adaptface_jax.report.tables import percent, table

EVEN = 0.05  # frequencies that differ by at most this share of the largest
PAINTS = {"train": "c0", "validation": "c1", "test": "main"}


def labels_section(results: ClassificationResults) -> str:
    """F1 and frequency of each label side by side, and the table. HTML."""
    split, found = judged(results)
    one, several = kind_of_label(found)
    order = by_f1(found.labels)
    names, hidden = extremes(order)
    note = f"The ten best and the ten worst of {len(order)}." if hidden else ""
    f1 = {
        name: [(part, known.labels[name].f1, PAINTS[part]) for part, known in splits(results).items()] for name in names
    }
    charts = [dots(f"F1 by {one}", f1, note, axis="F1")]
    even = evenly(results)
    if results.distribution and not even:
        shares = {
            name: [(part, known[name], PAINTS.get(part, "base")) for part, known in results.distribution.items()]
            for name in names
        }
        charts.append(dots(f"Share of the images by {one}", shares, note, axis="share of the images"))
    shown = label_table(f"By {one}, on {split}, the best F1 first", results, names)
    if hidden:
        everything = label_table("", results, order)
        shown += f"<details><summary>All {len(order)} {several}</summary>{everything}</details>"
    return f'<div class="charts">{"".join(charts)}</div>{even}{shown}'


def evenly(results: ClassificationResults) -> str:
    """A sentence instead of a chart if all labels are about equally frequent in every split; else "". HTML."""
    parts = [list(part.values()) for part in results.distribution.values()]
    if not parts or any(max(part) - min(part) > EVEN * max(part) for part in parts):
        return ""
    one, _ = kind_of_label(results.validation)
    low, high = (percent(end(value for part in parts for value in part)) for end in (min, max))
    said = low if low == high else f"{low} to {high}"
    return f'<p class="note">Every {one} has about the same number of images: {said} of each split.</p>'


def label_table(caption: str, results: ClassificationResults, names: Sequence[str]) -> str:
    """One row per label."""
    titles, rows = label_rows(results, names)
    return table(caption, titles, [("", row) for row in rows])


def confusion_section(split: str, found: SplitResult) -> str:
    """The matrix, and the most confused pairs. HTML."""
    titles, pairs = confused_rows(found)
    drawn = confusion_chart(f"True against predicted class, on {split}", found.confusion, list(found.labels))
    if not pairs:
        return drawn + '<p class="note">No image was assigned to a wrong class.</p>'
    return drawn + table("Most confused", titles, [("", row) for row in pairs], left=2)
