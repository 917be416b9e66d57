"""Condition by condition: the pairs of each cell, and their metrics at the thresholds of the full benchmark."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.benchmarks.from_path import open_benchmark
from adaptface_jax.evaluation.cells import cell_members, compute_cells, condition_names, subsets
from adaptface_jax.evaluation.gates import gate_report
from adaptface_jax.evaluation.pair_scores import PairScores
from adaptface_jax.evaluation.statistics.paired_test import compare
from adaptface_jax.evaluation.verification import judge_pairs

NAMES = ("pose", "age", "light", "ordinary")
FILM = "pose=left|right|up|down; age=old|child; light=bad; ordinary"


def made(seed: int, pairs: int = 200, images: int = 60):
    """Distances, truth, index and conditions; any number of conditions per image, or none."""
    rng = np.random.default_rng(seed)
    issame = np.arange(pairs) % 2 == 0
    distances = np.clip(np.where(issame, 1.0, 1.6) + 0.5 * rng.standard_normal(pairs), 0, 4)
    return distances, issame, rng.integers(0, images, 2 * pairs), rng.integers(0, 2, (images, 4)).astype(np.uint8)


def test_a_cell_has_the_metrics_of_its_own_pairs():
    distances, issame, index, holds = made(0)
    judged = judge_pairs(distances, issame)
    first, second = holds[index[::2]].astype(bool), holds[index[1::2]].astype(bool)
    members = (first[:, 0] & second[:, 2]) | (second[:, 0] & first[:, 2])
    (cell,) = [cell for cell in compute_cells(judged, index, holds, NAMES) if cell.name == "pose-light"]
    assert cell.figures.pairs == members.sum()
    assert cell.figures.accuracy == pytest.approx(judged.right[members].mean())
    assert cell.figures.auc == pytest.approx(roc_auc_score(issame[members], -distances[members]))


@given(st.integers(0, 2**32 - 1))
def test_cells_hold_every_pair_of_known_images_whichever_of_them_comes_first(seed):
    _, _, index, holds = made(seed)
    cells = {(row, column): members for row, column, members in cell_members(index, holds)}
    for i, (one, other) in enumerate(index.reshape(-1, 2)):
        there = {
            tuple(sorted(cell)) for cell in itertools.product(np.flatnonzero(holds[one]), np.flatnonzero(holds[other]))
        }
        assert {cell for cell, members in cells.items() if members[i]} == there
    swapped = index.reshape(-1, 2)[:, ::-1].ravel()
    for row, column, members in cell_members(swapped, holds):
        np.testing.assert_array_equal(members, cells[row, column])


def test_a_cell_of_one_kind_has_no_auc_and_an_empty_one_is_left_out():
    distances, issame, index, _ = made(1)
    holds = np.zeros((60, 4), np.uint8)
    holds[index[0]], holds[index[1]] = (1, 0, 0, 0), (0, 0, 1, 0)
    cells = compute_cells(judge_pairs(distances, issame), index[:2].tolist() + [59] * 398, holds, NAMES)
    assert [(cell.name, cell.figures.pairs, cell.figures.auc) for cell in cells] == [("pose-light", 1, None)]


@given(st.sets(st.sampled_from(list(itertools.combinations_with_replacement(range(4), 2))), min_size=1))
def test_rows_and_columns_are_ordered_so_that_every_cell_is_in_the_upper_triangle(places):
    distances, issame, index, holds = made(2)
    cells = [
        cell
        for cell in compute_cells(judge_pairs(distances, issame), index, holds, NAMES)
        if (NAMES.index(cell.first), NAMES.index(cell.second)) in places
    ]
    order = condition_names(cells)
    assert len(order) == len(set(order)) and all(order.index(cell.first) <= order.index(cell.second) for cell in cells)


def test_two_models_are_compared_on_every_domain_and_cell():
    distances, issame, index, holds = made(3)
    benchmark = Benchmark([b""] * 60, index, issame, "made", image_domain=holds[:, :2], domain_names=NAMES[:2])
    members, names = subsets(benchmark)
    assert names == ("pose", "age", "pose-pose", "pose-age", "age-age") and members.shape == (200, 5)
    assert not (members[:, 2] & ~members[:, 0]).any()
    kept = {"index": index, "domain": members, "domain_names": np.array(names)}
    first, second = (PairScores(found, issame, found < 1.3, **kept) for found in (distances, np.sqrt(distances)))
    assert set(compare(first, second).domains) == set(names)


def test_a_perfect_router_is_perfect_on_the_film_faces(shared_data):
    """One that opens the gates of an image's own conditions: the frontal half of a pose pair is not turned."""
    benchmark = open_benchmark(str(shared_data / "film" / "test"), FILM)
    assert benchmark.domain_names == NAMES and benchmark.pair_names == ("pose", "age", "light", "easy")
    holds = benchmark.image_domain
    posed = np.unique(benchmark.index.reshape(-1, 2)[benchmark.pair_domain == 0])
    gates = holds / np.maximum(holds.sum(axis=1, keepdims=True), 1)
    for chosen in (posed, np.arange(len(holds))):
        report = gate_report(gates[chosen], holds[chosen], NAMES)
        assert report.agreement == report.matched_agreement == 1.0
        assert report.images == holds[chosen].any(axis=1).sum() > 0.9 * len(chosen)
