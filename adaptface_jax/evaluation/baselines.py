# SPDX-License-Identifier: Apache-2.0
"""The baselines of a run: raw pixels and the unadapted backbone on the same benchmarks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from adaptface_jax.config.schema import Config
from adaptface_jax.core import run_names
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import from_plain, read_json, to_json
from adaptface_jax.core.progress import Phase
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.distributed.processes import agreed, primary
from adaptface_jax.evaluation.embedding import Embedder
from adaptface_jax.evaluation.evaluator import evaluate, raw_pixels
from adaptface_jax.evaluation.pair_scores import FROZEN, SCORES, write_each
from adaptface_jax.evaluation.results import BenchmarkResult
from adaptface_jax.training.recognition.model import Model, unadapted

NAME = run_names.BASELINES


@dataclasses.dataclass(frozen=True)
class Baselines:
    """Benchmark name -> metrics, of raw pixels and of the unadapted backbone; empty without benchmarks."""

    pixels: dict[str, BenchmarkResult] = dataclasses.field(default_factory=dict)
    frozen: dict[str, BenchmarkResult] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Known:
    """What a run's file holds. of: the backbone, the benchmarks' paths and whether mirror images are included.

    sha256: of the rest; empty from versions that did not write it.
    """

    of: tuple[dict[str, Any], dict[str, str], bool]
    results: Baselines
    sha256: str = ""


def _read(workdir: Path) -> Known | None:
    """The file of a run; None if there is none, or if it cannot be read, which is reported."""
    path = workdir / NAME
    if not path.exists():
        return None
    try:
        plain = read_json(path)
        known = from_plain(plain, Known, str(path))
        if known.sha256 and known.sha256 != _digest(plain):
            raise InputError(f"{path}: was changed since it was written (sha256 differs)")
        return known
    except InputError as error:
        print(f"{error}; not used", flush=True)
        return None


def _digest(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps([plain["of"], plain["results"]], sort_keys=True).encode()).hexdigest()


def known_frozen(workdir: Path, paths: Mapping[str, str], flip: bool) -> dict[str, BenchmarkResult]:
    """The metrics of a run's unadapted backbone on those of the benchmarks (name -> path) that it was measured on.

    flip: whether mirror images are included.
    """
    known = _read(workdir)
    if known is None:
        return {}
    _, measured, flipped = known.of
    same = {name for name, path in paths.items() if flipped == flip and measured.get(name) == path}
    return {name: entry for name, entry in known.results.frozen.items() if name in same}


def baselines(
    model: Model, config: Config, benchmarks: Mapping[str, Benchmark], mesh: Mesh, workdir: Path
) -> Baselines:
    """Measured once per run and stored in `workdir`/baselines.json: resuming should not cost two evaluations."""
    if not benchmarks:
        return Baselines()
    identity, paths, flip = json.loads(to_json([model.identity, config.data.benchmarks, config.eval.flip]))
    wanted = (identity, paths, flip)
    known = _read(workdir)
    kept = known.results if known is not None and known.of == wanted else None
    if agreed(int(kept is not None)):
        return kept or Baselines()
    recognizer = dataclasses.replace(model.recognizer, config=unadapted(config))
    frozen = model.frozen or {"backbone": model.trainable["backbone"]}
    embedder = Embedder(recognizer, mesh, config.eval.batch_size, model.stored_size)
    with Phase(f"evaluating the frozen backbone and raw pixels on {', '.join(benchmarks)}; then training"):
        found = evaluate(embedder, frozen, {}, benchmarks, config.eval.flip)
        measured = Baselines(raw_pixels(benchmarks), found.results)
    if primary():
        write_each(workdir / SCORES / FROZEN, found.scores)
        known = Known(wanted, measured)
        known = dataclasses.replace(known, sha256=_digest(json.loads(to_json(known))))
        write_text(workdir / NAME, to_json(known) + "\n")
    return measured
