"""The confusion matrix of a classifier, drawn the same for TensorBoard and for the report pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from adaptface_jax.core.text import shortened
from adaptface_jax.evaluation.classification.rankings import MANY, READABLE, shares
from adaptface_jax.evaluation.plots import PALETTE, SIZE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXT = 11.5  # points: the report uses this size too, so that the labels fit
# Fewer classes than this fit in the small figure; more need twice its width.
FEW = 8


def confusion_figure(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> Figure:
    """The share of each true class (row) that was predicted as each class, in color intensity.

    Cells show counts for up to READABLE classes, rows show names for up to MANY.
    confusion: [C][C], images by true class (row) and predicted class.
    """
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure

    images = np.array(confusion)
    share, count = shares(images), len(names)
    width = SIZE[0] / 72 * (1 if count < FEW else 2)
    figure = Figure(figsize=(width, 0.92 * width), dpi=72, layout="constrained", facecolor=PALETTE["card"])
    axes = figure.add_subplot()
    # The same color in every cell, more or less opaque: the page behind it may be light or dark.
    cells = np.concatenate([np.broadcast_to(to_rgb(PALETTE["main"]), (count, count, 3)), share[..., None]], axis=2)
    axes.imshow(np.round(cells * 255).astype(np.uint8), interpolation="none")
    axes.set_xlabel("predicted", color=PALETTE["soft"], size=TEXT)
    axes.set_ylabel("true", color=PALETTE["soft"], size=TEXT)
    for spine in axes.spines.values():
        spine.set_color(PALETTE["line"])
    axes.tick_params(length=0, pad=4, colors=PALETTE["soft"], labelsize=TEXT)
    if count > MANY:
        axes.set(xticks=[], yticks=[])
        return figure
    texts = [shortened(name, 18) for name in names]
    upright = count < FEW and max(map(len, texts)) < 10
    axes.set_xticks(range(count), texts, rotation=0 if upright else 90)
    axes.set_yticks(range(count), texts)
    if count <= READABLE:
        for (row, column), number in np.ndenumerate(images):
            color = PALETTE["card"] if share[row, column] > 0.5 else PALETTE["ink"]
            if number:
                axes.text(column, row, f"{number:,}", ha="center", va="center", color=color, size=TEXT)
    return figure
