"""The scores of a classifier: in one sentence, compared with the baselines, and on each split."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from adaptface_jax.checks.run.classification import noise
from adaptface_jax.core.text import plural, signed
from adaptface_jax.evaluation.classification.rankings import judged, splits
from adaptface_jax.evaluation.classification.results import BaselineScore, ClassificationResults, SplitResult
from adaptface_jax.evaluation.plots import paint
from adaptface_jax.report.charts import dots
from adaptface_jax.report.tables import percent, table

# Metrics that baselines have too: title -> field.
FIGURES = {"macro F1": "macro_f1", "accuracy": "accuracy"}


def answer(label: str, results: ClassificationResults) -> str:
    """The top of the page: macro F1 and accuracy, and how far above the baselines. HTML.

    label: the model, as it may begin a sentence.
    """
    split, found = judged(results)
    said = f"{label} has <b>{percent(found.macro_f1)}</b> macro F1 and {percent(found.accuracy)} accuracy"
    text = f'<p class="answer">{said} on {found.images:,} {split} images.</p>'
    if found.exact_match is not None:
        text += f"<p>All attributes are correct for {percent(found.exact_match)} of the images.</p>"
    baselines = results.baselines.get(split, {})
    if not baselines:
        return text
    text += f'<p class="note">{_gains(found, baselines)}</p>'
    kinds = dict(zip(baselines, ["base", *map(paint, range(1, len(baselines)))], strict=True))
    rows = {
        title: [
            *[(name, getattr(score, figure), kinds[name]) for name, score in baselines.items()],
            (label, getattr(found, figure), "main"),
        ]
        for title, figure in FIGURES.items()
    }
    chart = dots(f"Compared with the baselines, on {split}", rows, axis="share")
    return f'<div class="hero"><div>{text}</div>{chart}</div>'


def _gains(found: SplitResult, baselines: Mapping[str, BaselineScore]) -> str:
    """Above or below the best baseline in each metric. HTML."""
    said = []
    for title, figure in FIGURES.items():
        name = max(baselines, key=lambda name: getattr(baselines[name], figure))
        best = getattr(baselines[name], figure)
        change = getattr(found, figure) - best
        where = "above" if change >= 0 else "below"
        points = signed(abs(change)).lstrip("+")
        said.append(f"{title} is {points} points {where} the best baseline, {escape(name)} ({percent(best)})")
        if figure == "accuracy" and abs(change) <= 2 * noise(found.accuracy, found.images):
            said[-1] += f", no difference shown on {plural(found.images, 'image')}"
    return f"{said[0][:1].upper()}{said[0][1:]}; {said[1]}."


def scores_table(results: ClassificationResults) -> str:
    """The run and each baseline: every metric on validation and test side by side."""
    found = splits(results)
    own = {title: [percent(getattr(split, figure)) for split in found.values()] for title, figure in FIGURES.items()}
    if results.validation.exact_match is not None:
        own["exact match"] = [percent(split.exact_match) for split in found.values()]
    own["loss"] = [f"{split.loss:.4f}" for split in found.values()]
    rows = [("this", ["this run", *[cell for cells in own.values() for cell in cells]])]
    for name in dict.fromkeys(name for known in results.baselines.values() for name in known):
        scores = [results.baselines.get(split, {}).get(name) for split in found]
        cells = [percent(getattr(score, figure) if score else None) for figure in FIGURES.values() for score in scores]
        rows.append(("", [name, *cells, *[""] * (len(rows[0][1]) - 1 - len(cells))]))
    first, *others = found
    heads = [head for title in own for head in (f"{title}, {first}", *others)]
    counted = ", ".join(f"{name} {split.images:,}" for name, split in found.items())
    note = f'<p class="note">Images: {counted}. The checkpoint was chosen on validation: an upper bound there.</p>'
    return table("Scores", ["", *heads], rows) + note
