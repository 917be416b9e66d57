"""A recogniser on verification benchmarks: figures per benchmark, per domain, and what the gates do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from adaptface_jax.data.benchmark import Benchmark
from adaptface_jax.data.pipeline import evaluation_batches
from adaptface_jax.evaluation.domains import gate_report
from adaptface_jax.evaluation.embedding import Embedder
from adaptface_jax.evaluation.roc import Roc, roc_curve
from adaptface_jax.evaluation.verification import pair_distances, verify, verify_by_domain


def evaluate(
    embedder: Embedder, frozen: Any, trainable: Any, benchmarks: Mapping[str, Benchmark], flip: bool
) -> dict[str, dict[str, Any]]:
    """Benchmark name -> its entry of `results.json` (see evaluation/results.py). Each image is embedded once."""
    results = {}
    for name, benchmark in benchmarks.items():
        found = embedder(frozen, trainable, benchmark.images, flip)
        flipped = None if found.flipped is None else found.flipped[benchmark.index]
        entry = score(found.embedding[benchmark.index], benchmark, flipped)
        if found.gate is not None and benchmark.image_domain is not None and (benchmark.image_domain >= 0).any():
            entry["gates"] = gate_report(found.gate, benchmark.image_domain, benchmark.domain_names).to_json()
        elif found.gate is not None:
            entry["gate_mean"] = found.gate.mean(axis=0).tolist()
        results[name] = entry
    return results


def score(embeddings: np.ndarray, benchmark: Benchmark, flipped: np.ndarray | None = None) -> dict[str, Any]:
    """The figures of raw embeddings [2N, E] of a benchmark's pairs, overall and per domain."""
    entry = verify(embeddings, benchmark.issame, flipped).to_json()
    if benchmark.pair_domain is not None:
        domains = verify_by_domain(
            embeddings, benchmark.issame, benchmark.pair_domain, benchmark.domain_names, flipped
        )  # fmt: skip
        entry["domains"] = {domain: result.to_json() for domain, result in domains.items()}
    return entry


def curve(
    embedder: Embedder, frozen: Any, trainable: Any, benchmark: Benchmark, flip: bool
) -> tuple[Roc, np.ndarray]:  # fmt: skip
    """The ROC of a benchmark and the squared distances of its pairs, float64 [N], for plots."""
    found = embedder(frozen, trainable, benchmark.images, flip)
    flipped = None if found.flipped is None else found.flipped[benchmark.index]
    distances = pair_distances(found.embedding[benchmark.index], flipped)
    return roc_curve(distances, benchmark.issame), distances


def raw_pixels(benchmarks: Mapping[str, Benchmark]) -> dict[str, dict[str, Any]]:
    """What the pixels themselves, centred at mid-grey, reach as embeddings: the floor that any model has to beat."""
    results = {}
    for name, benchmark in benchmarks.items():
        rows = [batch[:count] for batch, count in evaluation_batches(benchmark.images, 256)]
        pixels = np.concatenate(rows).reshape(len(benchmark.images), -1).astype(np.float32)
        results[name] = score((pixels - 127.5)[benchmark.index], benchmark)
    return results


def mean_accuracy(results: Mapping[str, Mapping[str, Any]]) -> float:
    """What chooses the best checkpoint."""
    return float(np.mean([entry["accuracy"] for entry in results.values()]))


def scalars(results: Mapping[str, Mapping[str, Any]], prefix: str = "eval") -> dict[str, float]:
    """The figures as TensorBoard tags: eval/NAME/accuracy, eval/NAME/auc ..."""
    tags: dict[str, float] = {}
    for name, entry in results.items():
        for figure in ("accuracy", "accuracy_std", "auc", "eer", "best_threshold_accuracy", "threshold"):
            tags[f"{prefix}/{name}/{figure}"] = entry[figure]
        for far, tar in entry["tar_at_far"].items():
            if tar is not None:
                tags[f"{prefix}/{name}/tar_at_far_{far}"] = tar
        for domain, figures in entry.get("domains", {}).items():
            tags[f"{prefix}/{name}/{domain}/accuracy"] = figures["accuracy"]
        gates = entry.get("gates", {})
        if gates:
            tags[f"{prefix}/{name}/gate/entropy"] = gates["entropy"]
            tags[f"{prefix}/{name}/gate/agreement"] = gates["agreement"]
        for domain, gate in gates.get("mean", {}).items():
            tags |= {f"{prefix}/{name}/gate/{domain}/mean_{k}": value for k, value in enumerate(gate)}
        for k, value in enumerate(entry.get("gate_mean", ())):
            tags[f"{prefix}/{name}/gate/mean_{k}"] = value
    return tags
