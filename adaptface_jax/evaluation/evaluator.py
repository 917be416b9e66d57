"""A recogniser on verification benchmarks: figures per benchmark, per domain, and what the gates do."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, overload

import numpy as np

from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.pipeline import evaluation_batches
from adaptface_jax.data.record import UNKNOWN_DOMAIN
from adaptface_jax.evaluation.distances import indexed_distances
from adaptface_jax.evaluation.embedding import Embedder
from adaptface_jax.evaluation.gates import gate_report
from adaptface_jax.evaluation.pair_scores import Scores
from adaptface_jax.evaluation.thresholds import thresholds_at_far
from adaptface_jax.evaluation.verification import decisions, figures, figures_by_domain


class Evaluation(NamedTuple):
    """Benchmark name -> its entry of `results.json` (see evaluation/results.py), and what became of its pairs."""

    results: dict[str, dict[str, Any]]
    scores: dict[str, Scores]


def evaluate(
    embedder: Embedder, frozen: Any, trainable: Any, benchmarks: Mapping[str, Benchmark], flip: bool
) -> Evaluation:
    """All benchmarks in one pass of the model, each image embedded once.

    Raises InputError for an image that cannot be decoded, named with its benchmark.
    """
    if not benchmarks:
        return Evaluation({}, {})
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
        accepted = decisions(distances, benchmark.issame, benchmark.fold).accepted
        done.scores[name] = Scores(distances, benchmark.issame, accepted, benchmark.index, gate, benchmark.fold)
        done.results[name] = entry(distances, benchmark) | ({} if gate is None else gate_entry(gate, benchmark))
    return done


def entry(distances: np.ndarray, benchmark: Benchmark) -> dict[str, Any]:
    """The figures of the squared distances, float64 [N], of a benchmark's pairs, overall and per domain."""
    folds = benchmark.fold
    result = figures(distances, benchmark.issame, folds).to_json()
    result["threshold_at_far"] = thresholds_at_far(distances, benchmark.issame)
    if benchmark.pair_domain is not None:
        domains = figures_by_domain(
            distances, benchmark.issame, benchmark.pair_domain, benchmark.domain_names, folds
        )  # fmt: skip
        result["domains"] = {domain: found.to_json() for domain, found in domains.items()}
    return result


def gate_entry(gate: np.ndarray, benchmark: Benchmark) -> dict[str, Any]:
    """What the gates, float32 [M, K], of a benchmark's images do: on average, and by true domain where there are any.

    gate_usage: share of images whose largest gate is each expert's. gate_entropy: mean, in nats, 0..log K.
    """
    domain = benchmark.image_domain
    known = domain is not None and bool((domain > UNKNOWN_DOMAIN).any())
    report = gate_report(gate, domain, benchmark.domain_names).to_json() if known and domain is not None else None
    entropy = -(gate * np.log(np.maximum(gate, np.finfo(np.float32).tiny))).sum(axis=1)
    result = {
        "gate_mean": gate.mean(axis=0, dtype=np.float64).tolist(),
        "gate_usage": (np.bincount(gate.argmax(axis=1), minlength=gate.shape[1]) / len(gate)).tolist(),
        "gate_entropy": float(entropy.mean(dtype=np.float64)),
    }
    return result if report is None else result | {"gates": report}


def image_names(name: str, benchmark: Benchmark) -> Sequence[str]:
    """How messages name the images of the benchmark NAME."""
    if benchmark.keys is not None:
        return benchmark.keys
    return [f"{name}: image {number}" for number in range(len(benchmark.images))]


class Joined(Sequence[Any]):
    """Sequences end to end; an item is only read when it is asked for."""

    def __init__(self, parts: Sequence[Sequence[Any]]) -> None:
        self._parts = parts
        self._ends = list(itertools.accumulate(len(part) for part in parts))

    def __len__(self) -> int:
        return self._ends[-1]

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        index = range(len(self))[index]
        part = bisect.bisect_right(self._ends, index)
        return self._parts[part][index - (self._ends[part - 1] if part else 0)]


def raw_pixels(benchmarks: Mapping[str, Benchmark]) -> dict[str, dict[str, Any]]:
    """What the pixels themselves, centred at mid-grey, reach as embeddings: the floor that any model has to beat."""
    results = {}
    for name, benchmark in benchmarks.items():
        keys = image_names(name, benchmark)
        rows = [batch[:count] for batch, count in evaluation_batches(benchmark.images, 256, keys=keys)]
        pixels = np.concatenate(rows).reshape(len(benchmark.images), -1).astype(np.float32)
        results[name] = entry(indexed_distances(pixels - 127.5, benchmark.index), benchmark)
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
        for domain, found in entry.get("domains", {}).items():
            tags[f"{prefix}/{name}/{domain}/accuracy"] = found["accuracy"]
        gates = entry.get("gates", {})
        if gates:
            tags[f"{prefix}/{name}/gate/entropy"] = gates["entropy"]
            tags[f"{prefix}/{name}/gate/agreement"] = gates["agreement"]
        for domain, gate in gates.get("mean", {}).items():
            tags |= {f"{prefix}/{name}/gate/{domain}/mean_{k}": value for k, value in enumerate(gate)}
        for k, value in enumerate(entry.get("gate_mean", ())):
            tags[f"{prefix}/{name}/gate/mean_{k}"] = value
    return tags
