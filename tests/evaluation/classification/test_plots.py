"""The confusion matrix as a figure, and what TensorBoard gets from an evaluation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from adaptface_jax.evaluation.classification.plots import confusion_figure
from adaptface_jax.evaluation.classification.tensorboard import GAP, confusion, pictures, side_by_side
from adaptface_jax.training.monitor import Monitor
from tests.made_classifications import of_attributes, of_classes


def cells(figure) -> np.ndarray:
    """The drawn matrix: the opacity of each cell, 0 to 255."""
    return figure.axes[0].get_images()[0].get_array()[..., 3]


def test_rows_are_shares_and_cells_have_counts():
    figure = confusion_figure(((3, 1), (0, 1200)), ["cat", "dog"])
    assert cells(figure).tolist() == [[191, 64], [0, 255]]
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["3", "1", "1,200"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["cat", "dog"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")


def test_a_class_without_images_is_an_empty_row():
    assert cells(confusion_figure(((0, 0), (1, 1)), "ab")).tolist() == [[0, 0], [128, 128]]


@pytest.mark.parametrize(("classes", "counted", "named"), [(20, True, 20), (21, False, 21), (41, False, 0)])
def test_many_classes_have_no_counts_and_more_no_names(classes, counted, named):
    found = of_classes(0.5, classes, each=5)
    (axes,) = confusion_figure(found.confusion, list(found.labels)).axes
    assert bool(axes.texts) == counted
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert len(labels) == named and all(len(label) <= 18 for label in labels)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("monitored")
    samples = np.zeros((3, 8, 8, 3), np.uint8)
    with Monitor(folder) as monitor:
        confusion(monitor, 7, of_attributes(0.8), "validation")
        confusion(monitor, 9, of_classes(0.5, 3, long=False), "test")
        pictures(monitor, 1, samples, samples)
    return folder


def test_tensorboard_gets_the_matrix_of_classes(workdir):
    events = EventAccumulator(str(workdir)).Reload()
    assert set(events.Tags()["images"]) == {"eval/test/confusion", "samples/augmentation"}
    assert [event.step for event in events.Images("eval/test/confusion")] == [9]


@given(st.integers(1, 20), st.integers(1, 6))
def test_each_sample_is_next_to_its_augmentation(count, size):
    before = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1) * np.ones((1, size, size, 3), np.uint8)
    picture = side_by_side(before, before + 100)
    high, wide = size + GAP, 2 * size + GAP
    columns = (picture.shape[1] + GAP) // wide
    for i in range(count):
        top, left = i // columns * high, i % columns * wide
        assert (picture[top : top + size, left : left + size] == i).all()
        assert (picture[top : top + size, left + size : left + 2 * size] == i + 100).all()
    assert (picture == 255).any() == (count > 1)
