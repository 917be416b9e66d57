"""The figures hold the curves and pairs they are given."""

from __future__ import annotations

import numpy as np
import pytest

from adaptface_jax.evaluation.plots import Curve, distance_figure, far_text, roc_figure
from adaptface_jax.evaluation.roc import roc_curve

DISTANCES = np.array([0.2, 0.4, 1.4, 1.2, 1.9, 2.2])
ISSAME = np.array([True, True, True, False, False, False])


def test_roc_figure_names_each_curve_with_its_auc():
    figure = roc_figure([Curve("lfw", roc_curve(DISTANCES, ISSAME), "main")])
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["lfw (AUC 0.8889)"]
    line = axes.get_lines()[0]
    assert line.get_ydata()[-1] == 1.0
    assert line.get_xdata().min() > 0  # the axis is logarithmic


def test_a_roc_enters_at_the_tar_of_its_lowest_far():
    figure = roc_figure([Curve("lfw", roc_curve(DISTANCES, ISSAME), "main")], legend=False)
    line = figure.axes[0].get_lines()[0]
    assert (line.get_xdata()[0], line.get_ydata()[0]) == (figure.axes[0].get_xlim()[0], pytest.approx(2 / 3))
    assert figure.axes[0].get_legend() is None


def test_distance_figure_counts_every_pair():
    figure = distance_figure(DISTANCES, ISSAME, threshold=1.3)
    (axes,) = figure.axes
    assert [patch.get_data().values.sum() for patch in axes.patches] == pytest.approx([1, 1])  # of either kind
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["impostor, 3 pairs", "genuine, 3 pairs"]
    assert [text.get_text() for text in axes.texts] == ["threshold 1.30"]


def test_rates_next_to_an_axis():
    assert [far_text(10.0**power) for power in range(0, -6, -1)] == ["100%", "10%", "1%", "0.1%", "1e-4", "1e-5"]
