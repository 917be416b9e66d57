# SPDX-License-Identifier: Apache-2.0
"""Evaluates a recognizer on verification benchmarks: metrics per benchmark and domain, and use of the gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from adaptface_jax.core.progress import Phase
from adaptface_jax.core.text import plural
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.joined import Joined
from adaptface_jax.data.pipeline import evaluation_batches
from adaptface_jax.evaluation.cells import compute_cells, subsets
from adaptface_jax.evaluation.distances import indexed_distances
from adaptface_jax.evaluation.embedding import Embedder
from adaptface_jax.evaluation.folds import check_folds
from adaptface_jax.evaluation.gates import gate_report
from adaptface_jax.evaluation.pair_scores import PairScores
from adaptface_jax.evaluation.results import BenchmarkResult, BenchmarkResults
from adaptface_jax.evaluation.thresholds import thresholds_at_far
from adaptface_jax.evaluation.verification import JudgedPairs, compute_domain_metrics, compute_metrics, judge_pairs


class Evaluation(NamedTuple):
    """Benchmark name -> its metrics, and the scores of its pairs."""

    results: dict[str, BenchmarkResult]
    scores: dict[str, PairScores]


def evaluate(
    embedder: Embedder, frozen: Any, trainable: Any, benchmarks: Mapping[str, Benchmark], flip: bool
) -> Evaluation:
    """Evaluates all benchmarks in one pass of the model, each image embedded once.

    Raises InputError for an image that cannot be decoded and for too few pairs, named with their benchmark.
    """
    if not benchmarks:
        return Evaluation({}, {})
    for name, benchmark in benchmarks.items():
        check_folds(name, benchmark.fold, benchmark.issame)
    images = Joined([benchmark.images for benchmark in benchmarks.values()])
    keys = Joined([image_names(name, benchmark) for name, benchmark in benchmarks.items()])
    found = embedder(frozen, trainable, images, flip, keys)
    done = Evaluation({}, {})
    start = 0
    for name, benchmark in benchmarks.items():
        rows = slice(start, start + len(benchmark.images))
        start = rows.stop
        flipped = None if found.flipped is None else found.flipped[rows]
        distances = indexed_distances(found.embedding[rows], benchmark.index, flipped)
        gate = None if found.gate is None else found.gate[rows]
        with Phase(f"evaluating {plural(len(benchmark.issame), 'pair')} of {name}", brief=True):
            judged = judged_benchmark(distances, benchmark)
            done.scores[name] = _scores(judged, benchmark, gate)
            done.results[name] = benchmark_result(judged, benchmark, gate)
    return done


def judged_benchmark(distances: np.ndarray, benchmark: Benchmark) -> JudgedPairs:
    """The decisions on the benchmark's pairs by their squared distances, float64 [N]."""
    return judge_pairs(distances, benchmark.issame, benchmark.fold, benchmark.index, benchmark.person)


def _scores(judged: JudgedPairs, benchmark: Benchmark, gate: np.ndarray | None) -> PairScores:
    members, names = subsets(benchmark)
    return PairScores(
        judged.distances,
        benchmark.issame,
        judged.accepted,
        benchmark.index,
        gate,
        benchmark.fold,
        benchmark.person,
        domain=members if names else None,
        domain_names=np.array(names) if names else None,
    )


def benchmark_result(judged: JudgedPairs, benchmark: Benchmark, gate: np.ndarray | None = None) -> BenchmarkResult:
    """The metrics of a benchmark's judged pairs, overall, per domain and condition by condition, and use of its gates.

    gate: float32 [M, K] of the benchmark's images, or None for a model without gates.
    """
    figures: dict[str, Any] = vars(compute_metrics(judged))
    figures["threshold_at_far"] = thresholds_at_far(judged.distances, judged.issame)
    figures["domains"] = compute_domain_metrics(judged, *benchmark.pairs_of_domains())
    if benchmark.image_domain is not None:
        figures["cells"] = compute_cells(judged, benchmark.index, benchmark.image_domain, benchmark.domain_names)
    if gate is not None:
        entropy = -(gate * np.log(np.maximum(gate, np.finfo(np.float32).tiny))).sum(axis=1)
        usage = np.bincount(gate.argmax(axis=1), minlength=gate.shape[1]) / len(gate)
        figures["gate_mean"] = tuple(gate.mean(axis=0, dtype=np.float64).tolist())
        figures["gate_usage"] = tuple(usage.tolist())
        figures["gate_entropy"] = float(entropy.mean(dtype=np.float64))
        if benchmark.image_domain is not None and benchmark.image_domain.any():
            figures["gates"] = gate_report(gate, benchmark.image_domain, benchmark.domain_names)
    return BenchmarkResult(**figures)


def image_names(name: str, benchmark: Benchmark) -> Sequence[str]:
    """How messages name the images of the benchmark NAME."""
    if benchmark.keys is not None:
        return benchmark.keys
    return [f"{name}: image {number}" for number in range(len(benchmark.images))]


def raw_pixels(benchmarks: Mapping[str, Benchmark]) -> dict[str, BenchmarkResult]:
    """The metrics of raw pixels, centered at mid-gray, as embeddings: the floor that any model has to beat."""
    results = {}
    for name, benchmark in benchmarks.items():
        keys = image_names(name, benchmark)
        rows = [batch[:count] for batch, count in evaluation_batches(benchmark.images, 256, keys=keys)]
        pixels = np.concatenate(rows).reshape(len(benchmark.images), -1).astype(np.float32)
        distances = indexed_distances(pixels - 127.5, benchmark.index)
        results[name] = benchmark_result(judged_benchmark(distances, benchmark), benchmark)
    return results


def mean_accuracy(results: BenchmarkResults) -> float:
    """The score that chooses the best checkpoint."""
    return float(np.mean([entry.accuracy for entry in results.values()]))


def scalars(results: BenchmarkResults, prefix: str = "eval") -> dict[str, float]:
    """The metrics as TensorBoard tags: eval/NAME/accuracy, eval/NAME/auc ..."""
    tags: dict[str, float] = {}
    for name, entry in results.items():
        for figure in ("accuracy", "accuracy_std", "auc", "eer", "best_threshold_accuracy", "threshold"):
            tags[f"{prefix}/{name}/{figure}"] = getattr(entry, figure)
        for far, tar in entry.tar_at_far.items():
            if tar is not None:
                tags[f"{prefix}/{name}/tar_at_far_{far}"] = tar
        for domain, found in entry.domains.items():
            tags[f"{prefix}/{name}/{domain}/accuracy"] = found.accuracy
        for cell in entry.cells:
            if cell.figures.auc is not None:
                tags[f"{prefix}/{name}/{cell.name}/accuracy"] = cell.figures.accuracy
                tags[f"{prefix}/{name}/{cell.name}/auc"] = cell.figures.auc
        if entry.gates is not None:
            tags[f"{prefix}/{name}/gate/entropy"] = entry.gates.entropy
            tags[f"{prefix}/{name}/gate/agreement"] = entry.gates.agreement
            for domain, gate in entry.gates.mean.items():
                tags |= {f"{prefix}/{name}/gate/{domain}/mean_{k}": value for k, value in enumerate(gate)}
        for k, value in enumerate(entry.gate_mean):
            tags[f"{prefix}/{name}/gate/mean_{k}"] = value
    return tags
