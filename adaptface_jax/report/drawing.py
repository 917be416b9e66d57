"""The figures of evaluation/plots.py for a page: inline SVG with the colors and fonts of the page's style."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from adaptface_jax.evaluation.classification.plots import FEW, confusion_figure
from adaptface_jax.evaluation.classification.rankings import MANY
from adaptface_jax.evaluation.pair_scores import PairScores
from adaptface_jax.evaluation.plots import PALETTE, SIZE, Curve, distance_figure, far_text, roc_figure
from adaptface_jax.evaluation.roc import MIN_FALSE_ACCEPTS
from adaptface_jax.report import svg
from adaptface_jax.report.hover import Stop, Value, strips, values_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Output is reproducible, and ids are unique among the figures of a page.
_FIXED = {"Date": None, "Creator": None, "Format": None, "Type": None}


def inline_svg(figure: Figure, says: str) -> str:
    """The element; `says` is its text alternative, which must be unique on the page."""
    import matplotlib as mpl

    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    written = io.StringIO()
    salt = hashlib.sha256(says.encode()).hexdigest()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt, "path.simplify_threshold": 0.4}):
        figure.savefig(written, format="svg", metadata=_FIXED)
    drawn = written.getvalue()
    drawn = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", drawn, flags=re.S)
    box = re.search(r'viewBox="[^"]*"', drawn)
    head = f'<svg {box[0] if box else ""} role="img" aria-label="{escape(says)}">'
    drawn = head + re.sub(r"^.*?<svg[^>]*>", "", drawn, flags=re.S).replace("xlink:href", "href")
    named = set(re.findall(r'(?:url\(|href=")#([^")]+)', drawn))
    drawn = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in named else "", drawn)
    drawn = re.sub(r'font-(?:size|family): [^;"]*;? ?', "", drawn)
    drawn = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d)\d+", r"\1", path[0]), drawn)
    for name, color in PALETTE.items():
        drawn = drawn.replace(color, f"var(--{name})")
    return re.sub(r"\s*\n\s*", "\n", drawn).strip()


def roc_chart(title: str, curves: Sequence[Curve], note: str = "") -> str:
    """TAR over FAR of several models or benchmarks, with its legend. HTML."""
    says = f"{title}: " + ", ".join(f"{curve.name} AUC {curve.roc.auc():.4f}" for curve in curves)
    figure = roc_figure(curves, legend=False)
    drawn, stops = inline_svg(figure, says), list(roc_stops(figure, curves))
    if stops:
        left, bottom, right, _ = figure.axes[0].bbox.extents
        drawn = drawn.removesuffix("</svg>") + strips(stops, left, right, SIZE[1] - bottom) + "</svg>"
        note = f"{note} Values are given from {MIN_FALSE_ACCEPTS} expected false accepts on.".strip()
    legend = [(f"{curve.paint} dashed" if curve.dashed else curve.paint, curve.label) for curve in curves]
    table = values_table(title, "false accept rate", stops) if stops else ""
    return svg.figure(title, drawn, legend, note, values=table)


def roc_stops(figure: Figure, curves: Sequence[Curve]) -> Iterator[Stop]:
    """The TAR of each curve at 1, 2 and 5 times each power of ten, where it has one; figure: drawn."""
    place = figure.axes[0].transData.transform
    for far in (factor * 10.0**power for power in range(-9, 0) for factor in (1, 2, 5)):
        tars = [(curve, curve.roc.tar_at_far(far)) for curve in curves]
        values = [
            Value(curve.name, f"{tar:.2%}", SIZE[1] - float(place((far, tar))[1]), curve.paint)
            for curve, tar in tars
            if tar is not None
        ]
        if values:
            yield Stop(float(place((far, 0.0))[0]), f"FAR {far_text(far)}", values)


def distance_chart(title: str, scores: PairScores, threshold: float) -> str:
    """The distances of genuine and impostor pairs, with a legend. HTML."""
    middle = [float(np.median(scores.distance[members])) for members in (scores.issame, ~scores.issame)]
    says = f"{title}: median {middle[0]:.2f} of genuine pairs, {middle[1]:.2f} of impostor pairs"
    drawn = inline_svg(distance_figure(scores.distance, scores.issame, threshold, legend=False), says)
    counts = [int(np.count_nonzero(members)) for members in (scores.issame, ~scores.issame)]
    legend = [("main", f"genuine, {counts[0]:,} pairs"), ("base", f"impostor, {counts[1]:,} pairs")]
    return svg.figure(title, drawn, legend)


def confusion_chart(title: str, confusion: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """The confusion matrix, which scrolls within its own box on a narrow screen. HTML."""
    right = sum(row[i] for i, row in enumerate(confusion))
    says = f"{title}: {right:,} of {sum(map(sum, confusion)):,} images of {len(names)} classes on the diagonal"
    drawn = inline_svg(confusion_figure(confusion, names), says)
    box = f'<div class="wide" tabindex="0" role="region" aria-label="{escape(title)}">{drawn}</div>'
    note = "The stronger the color, the larger the share of the true class." + (
        "" if len(names) <= MANY else " Classes are in the model's order."
    )
    return svg.figure(title, box, note=note, kind="matrix small" if len(names) < FEW else "matrix")
