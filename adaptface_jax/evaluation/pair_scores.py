# SPDX-License-Identifier: Apache-2.0
"""The scores of a model for every pair of a benchmark, and their file, to compare runs without embedding again.

A file has, for each benchmark NAME, the arrays NAME/distance, NAME/issame, NAME/accepted, NAME/index and, for models
with gates, NAME/gate; NAME/fold if the list defines folds, NAME/person if the source knows its people, and NAME/domain
with NAME/domain_names if it knows domains.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from adaptface_jax.core import run_names
from adaptface_jax.core.arrays import read_arrays
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import clear_remains_in, whole_file

SCORES = run_names.SCORES  # in the folder of a run
FROZEN = "frozen"  # and the folder within it with those of the unadapted backbone


@dataclasses.dataclass(frozen=True)
class PairScores:
    """distance: float64 [N], squared, of unit embeddings, 0..4. issame: bool [N].
    accepted: bool [N], the decision of the protocol, each pair at the threshold of its fold.
    index: int32 [2N], the images of pair i at 2i and 2i + 1. gate: float32 [M, K] of the M images, or None.
    fold: int32 [N], if the list defines it; None: as in `evaluation.folds`.
    person: int32 [M], of each image if the source knows it, else None. domain: bool [N, D], which pairs are in which
    domain, and domain_names: str [D], or None.
    """

    distance: np.ndarray
    issame: np.ndarray
    accepted: np.ndarray
    index: np.ndarray
    gate: np.ndarray | None = None
    fold: np.ndarray | None = None
    person: np.ndarray | None = None
    domain: np.ndarray | None = None
    domain_names: np.ndarray | None = None

    def domains(self) -> dict[str, np.ndarray]:
        """Domain name -> which pairs are in it, bool [N]; of domains with a pair."""
        if self.domain is None or self.domain_names is None:
            return {}
        members = zip(self.domain_names.tolist(), self.domain.T, strict=True)
        return {name: chosen for name, chosen in members if chosen.any()}

    @property
    def right(self) -> np.ndarray:
        """Whether the decision was correct, bool [N]."""
        return self.accepted == self.issame


def write_scores(path: Path, scores: Mapping[str, PairScores]) -> None:
    """Writes the file of these benchmarks, completely or not at all."""
    arrays = {
        f"{name}/{field}": value
        for name, entry in scores.items()
        for field, value in vars(entry).items()
        if value is not None
    }
    with whole_file(path) as file:
        np.savez_compressed(file, **arrays)


def write_each(folder: Path, scores: Mapping[str, PairScores]) -> None:
    """Writes one file per benchmark; leftovers of a killed process in the folder are removed."""
    clear_remains_in(folder)
    for name, entry in scores.items():
        write_scores(folder / f"{name}.npz", {name: entry})


def read_scores(path: Path) -> dict[str, PairScores]:
    """Benchmark name -> its scores. Raises InputError for anything but a file of `write_scores`."""
    expected = "expected a file that `evaluate --scores` or a run wrote"
    try:
        with open(path, "rb") as file:
            arrays = read_arrays(file)
        names = list(dict.fromkeys(name.rpartition("/")[0] for name in arrays))
        fields = [field.name for field in dataclasses.fields(PairScores)]
        found = {name: PairScores(*(arrays.get(f"{name}/{field}") for field in fields)) for name in names}  # type: ignore[arg-type]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or 'not an archive'}); {expected}") from None
    except ValueError:
        raise InputError(f"{path}: not an archive of arrays; {expected}") from None
    if not found:
        raise InputError(f"{path}: contains no scores; {expected}")
    for name, entry in found.items():
        shapes = [None if value is None else value.shape for value in (entry.distance, entry.issame, entry.accepted)]
        pairs = shapes[0]
        if not pairs or len(set(shapes)) != 1 or entry.index is None or entry.index.shape != (2 * pairs[0],):
            raise InputError(f"{path}: {name or 'an entry'} is incomplete; {expected}")
    return found
