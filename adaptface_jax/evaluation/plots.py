"""The figures of runs, drawn the same for TensorBoard and for the report pages.

Matplotlib takes a second to import, so only drawing code imports this.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from adaptface_jax.evaluation.roc import Roc
from adaptface_jax.training.lr_sweep import Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Names of colors -> the colors themselves. The report replaces them with its own style (report/drawing.py).
PALETTE = {
    "ink": "#1c2126", "soft": "#626b75", "faint": "#e6e6e1", "line": "#d3d4cf", "main": "#1d6f72", "base": "#9aa2aa",
    "c0": "#2a6fb0", "c1": "#c9792b", "c2": "#3d9274", "c3": "#8a5aa8", "c4": "#b8475f", "c5": "#6b7f2a",
    "c6": "#4d8fa8", "c7": "#8c6d4f", "card": "#ffffff",
}  # fmt: skip
SIZE = (440, 264)  # of a figure, in points


@dataclasses.dataclass(frozen=True)
class Curve:
    """A ROC, its name, and its line style: a name in PALETTE, dashed or not."""

    name: str
    roc: Roc
    paint: str
    dashed: bool = False

    @property
    def label(self) -> str:
        return f"{self.name} (AUC {self.roc.auc():.4f})"


def paint(index: int) -> str:
    """The color of the index-th of several lines, starting over when they run out."""
    return f"c{index % 8}"


def roc_figure(curves: Sequence[Curve], legend: bool = True) -> Figure:
    """TAR over FAR on a logarithmic axis, starting below one false accept; the dotted line is chance."""
    from matplotlib.ticker import NullLocator

    lowest = min(10.0 ** math.floor(-math.log10(curve.roc.impostors)) for curve in curves)
    figure, axes = _axes("false accept rate", "true accept rate")
    axes.set(xscale="log", xlim=(lowest, 1), ylim=(0, 1.01))
    axes.xaxis.set_major_formatter(lambda value, _: far_text(value))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
    for curve in curves:
        # A FAR of zero is not on this axis; the curve enters from the left at its TAR.
        shown = slice(max(0, int(np.searchsorted(curve.roc.far, lowest, side="right")) - 1), None)
        axes.step(
            np.maximum(curve.roc.far[shown], lowest), curve.roc.tar[shown], where="post", label=curve.label,
            color=PALETTE[curve.paint], linewidth=1.9, linestyle="--" if curve.dashed else "-",
        )  # fmt: skip
    chance = np.geomspace(lowest, 1, 60)
    axes.plot(chance, chance, linestyle=":", color=PALETTE["base"], linewidth=1)
    if legend:
        axes.legend(loc="lower right", frameon=False)
    return figure


def distance_figure(
    distances: np.ndarray, issame: np.ndarray, threshold: float | None = None, legend: bool = True
) -> Figure:
    """The separation of genuine and impostor pairs: the share of each kind's pairs by distance.

    Args:
      distances: float [N], squared distances of unit embeddings, 0..4. issame: bool [N], both kinds present.
      threshold: drawn as a line if given.
    """
    figure, axes = _axes("squared distance of unit embeddings", "share of pairs")
    low, high = math.floor(distances.min() * 5) / 5, math.ceil(distances.max() * 5 + 1e-9) / 5
    edges = np.linspace(low, high, 41)
    for kind, members, name in (("impostor", ~issame, "base"), ("genuine", issame, "main")):
        shares = np.histogram(distances[members], edges)[0] / np.count_nonzero(members)
        label = f"{kind}, {np.count_nonzero(members):,} pairs"
        axes.stairs(shares, edges, fill=True, alpha=0.55, color=PALETTE[name], label=label)
    axes.set(xlim=(low, high), ylim=(0, None))
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
    if threshold is not None:
        axes.axvline(threshold, color=PALETTE["ink"], linestyle="--", linewidth=1)
        axes.annotate(
            f"threshold {threshold:.2f}", (threshold, 1), xycoords=("data", "axes fraction"), xytext=(5, -11),
            textcoords="offset points", color=PALETTE["soft"],
        )  # fmt: skip
    if legend:
        axes.legend(loc="upper right", frameon=False)
    return figure


def sweep_figure(sweeps: Sequence[Sweep]) -> Figure:
    """The loss over the learning rate, raw and smoothed, with the suggested rate; a color for each weight decay."""
    figure, axes = _axes("learning rate", "training loss")
    axes.set(xscale="log")
    for i, sweep in enumerate(sweeps):
        color = PALETTE[paint(i)]
        axes.plot(sweep.rates, sweep.losses, color=color, linewidth=0.8, alpha=0.3)
        label = f"weight decay {sweep.weight_decay:g}"
        if sweep.suggestion is not None:
            label += f": {sweep.suggestion:.2e}"
            axes.axvline(sweep.suggestion, color=color, linestyle="--", linewidth=1)
            loss = sweep.loss_at(sweep.suggestion)
            axes.plot(sweep.suggestion, loss, "o", color=color, markersize=5, clip_on=False)
        axes.plot(sweep.rates, sweep.smoothed, color=color, linewidth=1.9, label=label)
    shown = [loss for sweep in sweeps for loss in sweep.smoothed]
    if shown:
        # The last losses of a diverging sweep would flatten the others.
        low = min(loss for sweep in sweeps for loss in sweep.losses)
        high = min(max(shown), 2 * max(sweep.smoothed[0] for sweep in sweeps if sweep.smoothed))
        axes.set(ylim=(low - 0.1 * (high - low) - 1e-9, high + 0.1 * (high - low) + 1e-9))
    axes.legend(loc="lower left", frameon=False)  # where the loss is still high, at low rates
    return figure


def far_text(value: float) -> str:
    """A FAR on an axis: 100%, 1%, 0.1%, then 1e-4."""
    return f"{100 * value:g}%" if value >= 9.99e-4 else f"{value:.0e}".replace("e-0", "e-")


def _axes(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(SIZE[0] / 72, SIZE[1] / 72), dpi=72, layout="constrained", facecolor=PALETTE["card"])
    axes = figure.add_subplot()
    axes.set_xlabel(x_label, color=PALETTE["soft"])
    axes.set_ylabel(y_label, color=PALETTE["soft"])
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(PALETTE["line"])
    axes.tick_params(length=0, pad=6, colors=PALETTE["soft"])
    axes.grid(color=PALETTE["faint"], linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes
