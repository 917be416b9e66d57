"""Figures of a verification, drawn without a display."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from adaptface_jax.evaluation.roc import Roc


def roc_figure(curves: Mapping[str, Roc], lowest_far: float = 1e-4) -> Figure:
    """TAR over FAR, logarithmic, a line a benchmark; the chance line is dashed."""
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.add_subplot(xscale="log", xlim=(lowest_far, 1), ylim=(0, 1.01), xlabel="FAR", ylabel="TAR")
    for name, roc in curves.items():
        # A FAR of zero has no place on this axis; the curve enters from the left at its TAR.
        axes.step(np.maximum(roc.far, lowest_far), roc.tar, where="post", label=f"{name} (AUC {roc.auc():.4f})")
    chance = np.geomspace(lowest_far, 1, 50)
    axes.plot(chance, chance, linestyle="--", color="grey", linewidth=1)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


def distance_figure(distances: np.ndarray, issame: np.ndarray, threshold: float | None = None) -> Figure:
    """How far genuine and impostor pairs lie apart.

    Args:
      distances: float [N], squared distances of unit embeddings, 0..4. issame: bool [N].
      threshold: drawn as a line where given.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="squared distance", ylabel="pairs", xlim=(0, 4))
    bins = np.linspace(0, 4, 81).tolist()
    for kind, members in (("genuine", issame), ("impostor", ~issame)):
        axes.hist(distances[members], bins, alpha=0.6, label=f"{kind} ({np.count_nonzero(members)})")
    if threshold is not None:
        axes.axvline(threshold, color="black", linestyle="--", linewidth=1, label=f"threshold {threshold:.2f}")
    axes.legend(loc="upper right")
    return figure
