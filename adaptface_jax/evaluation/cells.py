"""Metrics by pairs of conditions: an image of one condition with an image of another, or of the same."""

from __future__ import annotations

import dataclasses
import graphlib
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.evaluation.verification import DomainVerification, JudgedPairs, subset_metrics


@dataclasses.dataclass(frozen=True)
class Cell:
    """The pairs with an image of `first` and one of `second`, in either order; a pair whose images have several
    conditions is in several cells. figures: at the thresholds of the whole benchmark."""

    first: str
    second: str
    figures: DomainVerification

    @property
    def name(self) -> str:
        return _name(self.first, self.second)


def cell_members(index: np.ndarray, image_domain: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """(row, column, which pairs, bool [N]) of every cell row <= column that has a pair.

    index: int [2N], the images of pair i at 2i and 2i + 1. image_domain: 0 or 1, [M, K].
    """
    holds = np.asarray(image_domain).astype(bool)[np.asarray(index)]
    one, other = holds[::2].T, holds[1::2].T
    for row, column in itertools.combinations_with_replacement(range(len(one)), 2):
        members = (one[row] & other[column]) | (one[column] & other[row])
        if members.any():
            yield row, column, members


def compute_cells(
    judged: JudgedPairs, index: np.ndarray, image_domain: np.ndarray, names: Sequence[str]
) -> tuple[Cell, ...]:
    """The metrics of every cell that has a pair, row by row of the upper triangle.

    index, image_domain: as in `cell_members`. names: of the K conditions.
    """
    return tuple(
        Cell(names[row], names[column], subset_metrics(judged, members))
        for row, column, members in cell_members(index, image_domain)
    )


def subsets(benchmark: Benchmark) -> tuple[np.ndarray, tuple[str, ...]]:
    """Which pairs are of which domain or cell, bool [N, D + C], and their names, as subsets for comparing models."""
    members, names = benchmark.pairs_of_domains()
    if benchmark.image_domain is None:
        return members, names
    known = benchmark.domain_names
    cells = list(cell_members(benchmark.index, benchmark.image_domain))
    found = [members, *(chosen[:, None] for _, _, chosen in cells)]
    return np.concatenate(found, axis=1), (*names, *(_name(known[row], known[column]) for row, column, _ in cells))


def _name(first: str, second: str) -> str:
    return f"{first}-{second}"


def by_conditions(cells: Sequence[Cell]) -> dict[tuple[str, str], Cell]:
    """By row and column."""
    return {(cell.first, cell.second): cell for cell in cells}


def condition_names(cells: Sequence[Cell]) -> list[str]:
    """The row names, which are also the column names, in an order that puts every cell in the upper triangle."""
    order: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for cell in cells:
        order.add(cell.second, *([cell.first] if cell.first != cell.second else []))
    return list(order.static_order())
