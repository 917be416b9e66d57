"""What a run is measured against: the raw pixels and the unadapted backbone on the same benchmarks."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from adaptface_jax.config.schema import Config
from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import to_json
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.distributed.processes import agreed, primary
from adaptface_jax.evaluation.embedding import Embedder
from adaptface_jax.evaluation.evaluator import evaluate, raw_pixels
from adaptface_jax.evaluation.pair_scores import FROZEN, SCORES, write_each
from adaptface_jax.models.recognizer import Recognizer
from adaptface_jax.training.model import Model, unadapted

NAME = "baselines.json"


def baselines(
    model: Model, config: Config, benchmarks: Mapping[str, Benchmark], mesh: Mesh, workdir: Path
) -> dict[str, Any]:
    """{"pixels": results, "frozen": results}, or nothing without benchmarks.

    Measured once for a run and kept in `workdir`/baselines.json: going on should not cost two evaluations.
    """
    if not benchmarks:
        return {}
    path = workdir / NAME
    asked = json.loads(to_json([model.identity, config.data.benchmarks, config.eval.flip]))
    known: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(path.read_text(encoding="utf-8"))
    if agreed(int(known.get("of") == asked)):
        return known["results"]
    recognizer = Recognizer(model.recognizer.spec, unadapted(config), model.recognizer.dtype)
    frozen = model.frozen or {"backbone": model.trainable["backbone"]}
    embedder = Embedder(recognizer, mesh, config.eval.batch_size)
    found = evaluate(embedder, frozen, {}, benchmarks, config.eval.flip)
    results = {"pixels": raw_pixels(benchmarks), "frozen": found.results}
    if primary():
        write_each(workdir / SCORES / FROZEN, found.scores)
        write_text(path, to_json({"of": asked, "results": results}) + "\n")
    return results
