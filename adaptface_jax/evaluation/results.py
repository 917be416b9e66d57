"""The results of a run: one tree of dataclasses, which is `results.json`.

Later versions add fields with defaults, so that older files can be read; fields equal to their default are omitted.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self

from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import from_plain, read_json, to_json
from adaptface_jax.evaluation.cells import Cell
from adaptface_jax.evaluation.gates import GateReport
from adaptface_jax.evaluation.statistics.paired_test import Comparison
from adaptface_jax.evaluation.verification import DomainVerification, Verification
from adaptface_jax.models.recognizer import ParameterCount
from adaptface_jax.training.recognition.facts import RunFacts
from adaptface_jax.training.run import MARKDOWN, PAGE, RESULTS


@dataclasses.dataclass(frozen=True)
class BenchmarkResult(Verification):
    """The results of a model on one benchmark.

    threshold_at_far: name of a FAR ("1e-3") -> the largest threshold whose FAR does not exceed it, a squared distance,
      or None if under 10 false accepts are expected.
    domains: domain name -> its pairs at the thresholds of the whole benchmark.
    cells: the same for each two conditions of images, if those are known.
    gate_mean, gate_usage: of all images, K values: the mean gate, and the share of images whose largest gate it is.
    gate_entropy: mean entropy of the images' gates in nats, 0..log K.
    gates: by true domain, if those are known.
    """

    threshold_at_far: dict[str, float | None] = dataclasses.field(default_factory=dict)
    domains: dict[str, DomainVerification] = dataclasses.field(default_factory=dict)
    cells: tuple[Cell, ...] = ()
    gate_mean: tuple[float, ...] = ()
    gate_usage: tuple[float, ...] = ()
    gate_entropy: float | None = None
    gates: GateReport | None = None


BenchmarkResults = Mapping[str, BenchmarkResult]


@dataclasses.dataclass(frozen=True)
class Results:
    """benchmarks: the adapted model, by benchmark. frozen, pixels: the unadapted backbone and the images themselves as
    embeddings, on the same ones. changes: adapted minus frozen, tested on the pairs of each. generated: the benchmarks
    of synthetic faces. run, parameters, environment (name -> version or machine), reported (UTC): of a run.
    """

    benchmarks: dict[str, BenchmarkResult]
    frozen: dict[str, BenchmarkResult] = dataclasses.field(default_factory=dict)
    pixels: dict[str, BenchmarkResult] = dataclasses.field(default_factory=dict)
    run: RunFacts | None = None
    parameters: tuple[ParameterCount, ...] = ()
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    reported: str | None = None
    changes: dict[str, Comparison] = dataclasses.field(default_factory=dict)
    generated: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The text of `results.json`."""
        return to_json(self, indent=2) + "\n"

    @classmethod
    def from_json(cls, value: dict[str, Any], where: str) -> Self:
        """From parsed JSON. Version 0.1.0 wrote some keys with spaces. Raises InputError that begins with `where`."""
        run = value.get("run")
        if isinstance(run, dict):
            value = value | {"run": {key.replace(" ", "_"): item for key, item in run.items()}}
        return from_plain(value, cls, where)


def read_results(path: Path) -> Results:
    """The results in a file, also in one that `evaluate --output` wrote. Raises InputError if it contains none."""
    return Results.from_json(read_json(path), str(path))


class Written(Protocol):
    """The results of any kind of run."""

    def to_json(self) -> str: ...


def write_results(folder: str | os.PathLike[str], results: Written, markdown: str, html: str) -> None:
    """Writes `folder`/results.html, results.md and results.json; a reader sees each file complete, old or new."""
    # All texts exist before the first is written: a result that JSON cannot represent replaces nothing.
    data = results.to_json()
    write_text(Path(folder) / PAGE, html)
    write_text(Path(folder) / MARKDOWN, markdown)
    write_text(Path(folder) / RESULTS, data)
