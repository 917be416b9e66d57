"""An evaluation in TensorBoard: curves, distributions, and on request images of faces."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adaptface_jax.core import trees
from adaptface_jax.core.text import short_names
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.decode import decode, to_size
from adaptface_jax.evaluation.distances import unit_embeddings
from adaptface_jax.evaluation.embedding import Embedder
from adaptface_jax.evaluation.evaluator import image_names, scalars
from adaptface_jax.evaluation.pair_scores import PairScores
from adaptface_jax.evaluation.picture_sheet import Row, draw_sheet
from adaptface_jax.evaluation.plots import Curve, distance_figure, paint, roc_figure
from adaptface_jax.evaluation.results import BenchmarkResults
from adaptface_jax.evaluation.roc import roc_curve
from adaptface_jax.training.monitor import Monitor

# The custom scalars of a face training: the overview of the run first.
STORY = {
    "The run": {
        "accuracy (step 0: the frozen backbone)": [r"eval/[^/]+/accuracy$"],
        "AUC (step 0: the frozen backbone)": [r"eval/[^/]+/auc$"],
        "training loss": [r"train/loss$"],
        "accuracy by domain": [r"eval/[^/]+/[^/]+/accuracy$"],
        "mean gate of each expert": [r"train/gate/mean_\d+$"],
        "entropy of the gates, nats": [r"train/gate/entropy$"],
    },
    "Training": {
        "learning rate": [r"train/learning_rate$"],
        "mean target cosine, and the margin": [r"train/target_cosine$", r"train/margin$"],
        "gradient norm by part": [r"train/grad_norm/[^/]+$"],
        "images per second": [r"train/images_per_second$"],
        "share of the time waiting for data": [r"train/data_wait$"],
    },
}
# The first columns of the table of runs; TensorBoard shows five settings by default.
SETTINGS = ("adapter.kind", "adapter.rank", "train.learning_rate", "loss.name", "loss.margin")
FIGURES = ("accuracy", "auc")
POINTS = 1000
PAIRS = 16
SPRITE = 32


def beginning(monitor: Monitor, frozen: BenchmarkResults) -> None:
    """The baseline, as step 0 of the tags that it is compared in, and the layout of the charts."""
    monitor.scalars(0, scalars(frozen, "frozen"), drawn=lambda tag: "eval/" + tag.removeprefix("frozen/"))
    monitor.layout(STORY)


def row_of_runs(monitor: Monitor, config: Mapping[str, Any], results: BenchmarkResults) -> None:
    """The run in the table of runs. config: as in its record."""
    figures = scalars(results)
    told = {tag: figures[tag] for figure in FIGURES for name in results if (tag := f"eval/{name}/{figure}")}
    monitor.hparams(trees.flatten(dict(config), "."), told | figures, first=SETTINGS)


def distributions(monitor: Monitor, step: int, scores: Mapping[str, PairScores]) -> None:
    """For each benchmark: precision over recall, the distances of each kind of pair, and the gates of its images."""
    for name, found in scores.items():
        monitor.pr_curve(step, f"eval/{name}/pr", found.issame, 1 - found.distance / 4)
        monitor.histogram(step, f"eval/{name}/distance/genuine", found.distance[found.issame])
        monitor.histogram(step, f"eval/{name}/distance/impostor", found.distance[~found.issame])
        if found.gate is not None:
            for k, gate in enumerate(found.gate.T):
                monitor.histogram(step, f"eval/{name}/gate/expert_{k}", gate)


def curves(monitor: Monitor, step: int, results: BenchmarkResults, scores: Mapping[str, PairScores]) -> None:
    """The ROC of all benchmarks in one figure, and the distances of the pairs of each."""
    for name, found in scores.items():
        figure = distance_figure(found.distance, found.issame, results[name].threshold)
        monitor.figure(step, f"eval/{name}/distances", figure)
    if scores:
        found_curves = [
            Curve(name, roc_curve(found.distance, found.issame), paint(i))
            for i, (name, found) in enumerate(scores.items())
        ]
        monitor.figure(step, "eval/roc", roc_figure(found_curves))


def faces(
    monitor: Monitor,
    step: int,
    benchmarks: Mapping[str, Benchmark],
    scores: Mapping[str, PairScores],
    embedder: Embedder,
    frozen: Any,
    trainable: Any,
) -> None:
    """Biometric data: the worst errors among the pairs, and up to POINTS embeddings with their faces."""
    points = {}
    for name, benchmark in benchmarks.items():
        found, keys = scores[name], image_names(name, benchmark)

        for kind, furthest_first in (("false_rejects", True), ("false_accepts", False)):
            wrong = np.flatnonzero((found.issame == furthest_first) & ~found.right)
            order = np.argsort(found.distance[wrong])[:: -1 if furthest_first else 1][:PAIRS]
            rows = [
                Row([benchmark.images[row] for row in sides], pair_caption(found, pair, [keys[row] for row in sides]))
                for pair in wrong[order]
                for sides in [found.index[2 * pair : 2 * pair + 2].tolist()]
            ]
            if rows:
                monitor.picture(step, f"eval/{name}/{kind}", draw_sheet(rows, 2))
        chosen = np.sort(np.random.default_rng(0).permutation(len(benchmark.images))[:POINTS])
        embedded = embedder(frozen, trainable, [benchmark.images[row] for row in chosen])
        sprites = np.stack([to_size(decode(benchmark.images[row], keys[row]), SPRITE) for row in chosen])
        names = [_named(benchmark, keys[row], row) for row in chosen]
        points[name] = (unit_embeddings(embedded.embedding, embedded.flipped), names, sprites)
    monitor.embeddings(step, points)


def pair_caption(scores: PairScores, pair: int, names: Sequence[str]) -> str:
    """The caption of a wrongly decided pair: its distance, and its images."""
    said = "one person, not accepted" if scores.issame[pair] else "two people, accepted"
    return "\n".join([f"squared distance {scores.distance[pair]:.4f}", said, *short_names(names)])


def _named(benchmark: Benchmark, key: str, row: int) -> str:
    """An image's name, with its conditions if they are known."""
    if benchmark.image_domain is None or not benchmark.image_domain[row].any():
        return key
    return f"{key} ({', '.join(itertools.compress(benchmark.domain_names, benchmark.image_domain[row]))})"
