"""The figures hold the curves and pairs they are given."""

from __future__ import annotations

import numpy as np

from adaptface_jax.evaluation.plots import distance_figure, roc_figure
from adaptface_jax.evaluation.roc import roc_curve

DISTANCES = np.array([0.2, 0.4, 1.4, 1.2, 1.9, 2.2])
ISSAME = np.array([True, True, True, False, False, False])


def test_roc_figure_names_each_curve_with_its_auc():
    figure = roc_figure({"lfw": roc_curve(DISTANCES, ISSAME)})
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["lfw (AUC 0.8889)"]
    line = axes.get_lines()[0]
    assert line.get_ydata()[-1] == 1.0
    assert line.get_xdata().min() > 0  # the axis is logarithmic


def test_distance_figure_counts_every_pair():
    figure = distance_figure(DISTANCES, ISSAME, threshold=1.3)
    (axes,) = figure.axes
    assert sum(patch.get_height() for patch in axes.patches) == len(DISTANCES)
    labels = {text.get_text() for text in axes.get_legend().get_texts()}
    assert labels == {"genuine (3)", "impostor (3)", "threshold 1.30"}
