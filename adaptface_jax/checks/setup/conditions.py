# SPDX-License-Identifier: Apache-2.0
"""The conditions of a benchmark's images: how many each has, and how many pairs each two of them have."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from adaptface_jax.checks.finding import Finding, note, ok
from adaptface_jax.core.text import plural
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.evaluation.cells import cell_members
from adaptface_jax.evaluation.statistics.jackknife import FEW
from adaptface_jax.evaluation.statistics.people import people_of


def conditions(benchmark: Benchmark) -> Iterator[Finding]:
    """The images of each condition, then a finding for each two conditions of a pair; nothing if none is known."""
    if benchmark.image_domain is None:
        return
    names, index, issame = benchmark.domain_names, np.asarray(benchmark.index), np.asarray(benchmark.issame, bool)
    counts = dict(zip(names, benchmark.image_domain.sum(axis=0, dtype=int).tolist(), strict=True))
    unknown = int((~benchmark.image_domain.any(axis=1)).sum())
    what = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    what += f" of {plural(len(benchmark.image_domain), 'image')}" + (f", {unknown:,} unknown" if unknown else "")
    yield (ok if any(counts.values()) else note)("conditions", what, images=counts, unknown=unknown)
    person = people_of(index, issame, benchmark.person)[index].reshape(-1, 2)
    for row, column, members in cell_members(index, benchmark.image_domain):
        yield _cell(f"{names[row]} with {names[column]}", issame[members], person[members])


def _cell(name: str, issame: np.ndarray, person: np.ndarray) -> Finding:
    """issame: bool [n]. person: int [n, 2], of the two images of each pair."""
    genuine, people = int(issame.sum()), len(np.unique(person))
    numbers = {"pairs": len(issame), "genuine": genuine, "people": people}
    what = f"{plural(len(issame), 'pair')}, {genuine:,} genuine, of {plural(people, 'person')}"
    if genuine in (0, len(issame)):
        return note(name, what, "one kind of pair only: no metric in the report's matrix", **numbers)
    if people <= FEW:
        return note(name, what, f"{FEW} people or fewer are too few to tell whether a difference is real", **numbers)
    return ok(name, what, **numbers)
