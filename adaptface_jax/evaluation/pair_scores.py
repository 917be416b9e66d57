"""What a model made of every pair of a benchmark, and its file, so that runs are compared without embedding again.

A file holds, for each benchmark NAME, the arrays NAME/distance, NAME/issame, NAME/accepted, NAME/index and, for models
with gates, NAME/gate; NAME/fold where the protocol has folds of its own, NAME/person where the source knows its people,
and NAME/domain with NAME/domain_names where it knows domains.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from adaptface_jax.core.arrays import read_arrays
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import clear_remains_in, whole_file

SCORES = "scores"  # the folder of a run that holds NAME.npz for each benchmark
FROZEN = "frozen"  # and the folder within it that holds those of the unadapted backbone


@dataclasses.dataclass(frozen=True)
class PairScores:
    """distance: float64 [N], squared, of unit embeddings, 0..4. issame: bool [N].
    accepted: bool [N], as the protocol decides, each pair at the threshold of its fold.
    index: int32 [2N], the images of pair i at 2i and 2i + 1. gate: float32 [M, K] of the M images, or None.
    fold: int32 [N], where the list says it; None: as `evaluation.folds` makes them.
    person: int32 [M], of each image where the source knows it, else None. domain: bool [N, D], which pairs are of which
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
        """Domain name -> which pairs are of it, bool [N]; of those that have a pair."""
        if self.domain is None or self.domain_names is None:
            return {}
        members = zip(self.domain_names.tolist(), self.domain.T, strict=True)
        return {name: chosen for name, chosen in members if chosen.any()}

    @property
    def right(self) -> np.ndarray:
        """Whether the decision was right, bool [N]."""
        return self.accepted == self.issame


def write_scores(path: Path, scores: Mapping[str, PairScores]) -> None:
    """Writes the file of these benchmarks, whole or not at all."""
    arrays = {
        f"{name}/{field}": value
        for name, entry in scores.items()
        for field, value in vars(entry).items()
        if value is not None
    }
    with whole_file(path) as file:
        np.savez_compressed(file, **arrays)


def write_each(folder: Path, scores: Mapping[str, PairScores]) -> None:
    """Writes a file a benchmark; what a killed process left in the folder is removed."""
    clear_remains_in(folder)
    for name, entry in scores.items():
        write_scores(folder / f"{name}.npz", {name: entry})


def read_scores(path: Path) -> dict[str, PairScores]:
    """Benchmark name -> its scores. Raises InputError for anything but a file as `write_scores` writes it."""
    expected = "expected a file that `evaluate --scores` or a run wrote"
    try:
        with open(path, "rb") as file:
            arrays = read_arrays(file)
        names = list(dict.fromkeys(name.rpartition("/")[0] for name in arrays))
        fields = [field.name for field in dataclasses.fields(PairScores)]
        found = {name: PairScores(*(arrays.get(f"{name}/{field}") for field in fields)) for name in names}  # type: ignore[arg-type]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or 'no archive'}); {expected}") from None
    except ValueError:
        raise InputError(f"{path}: is no archive of arrays; {expected}") from None
    if not found:
        raise InputError(f"{path}: holds no scores; {expected}")
    for name, entry in found.items():
        shapes = [None if value is None else value.shape for value in (entry.distance, entry.issame, entry.accepted)]
        pairs = shapes[0]
        if not pairs or len(set(shapes)) != 1 or entry.index is None or entry.index.shape != (2 * pairs[0],):
            raise InputError(f"{path}: {name or 'an entry'} is not whole; {expected}")
    return found
