"""The basis of the rule of `adaptface init` (config/starter.py): its settings compared with half and twice each number.

    python benchmarks/starter_rule.py --faces=att=10=ATT/packed=ATT/att.bin --faces=att=30=ATT/packed=ATT/att.bin \\
        --rate=3e-3 --out=benchmarks/results/starter_rule.json

Trains the rule's settings (with --rate, at another rate) and their neighbors, one number changed at a time, on the
first people of each set with the packaged backbone, images at --stored pixels, and verifies on the set's pairs.
Differences are to the middle cell, paired over seeds, with people resampled. Cells already in --work are not trained
again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from small_trainings import stored, trained

from adaptface_jax.config.overrides import freeze
from adaptface_jax.config.recipes import load
from adaptface_jax.config.schema import Config
from adaptface_jax.config.starter import RECIPE, Starter, starter
from adaptface_jax.core.environment import environment
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.benchmarks.from_path import open_benchmark
from adaptface_jax.data.record import Images, Source
from adaptface_jax.data.sources.from_path import open_source
from adaptface_jax.distributed.mesh import make_mesh
from adaptface_jax.evaluation.embedding import Embedder
from adaptface_jax.evaluation.evaluator import evaluate
from adaptface_jax.evaluation.pair_scores import PairScores, read_scores, write_scores
from adaptface_jax.evaluation.roc import roc_curve
from adaptface_jax.evaluation.statistics.paired_test import compare_seeds
from adaptface_jax.training.recognition.model import Model, build_model, unadapted

FROZEN, MIDDLE = "frozen", "middle"
FIGURES = ("learning_rate", "steps", "rank")


def cells(middle: Starter) -> Iterator[tuple[str, Starter]]:
    """The middle, then each of its numbers halved and doubled."""
    yield MIDDLE, middle
    for name in FIGURES:
        for word, factor in (("/ 2", 0.5), ("x 2", 2)):
            value = getattr(middle, name)
            yield f"{name} {word}", dataclasses.replace(middle, **{name: type(value)(value * factor)})


def configuration(settings: Starter, seed: int, pixels: int) -> Config:
    config = load(RECIPE)
    config.update_from_flattened_dict(settings.settings() | {"seed": seed, "backbone.image_size": pixels})
    frozen = freeze(config)
    assert isinstance(frozen, Config)
    return frozen


class Cells:
    """Trainings on one part of a set, each kept in the work folder."""

    def __init__(self, source: Source, benchmark: Benchmark, work: Path, pixels: int) -> None:
        self.source, self.mesh, self.work, self.pixels = source, make_mesh(), work, pixels
        self.images = stored(Images(source), pixels)
        self.benchmark = dataclasses.replace(benchmark, images=list(stored(benchmark.images, pixels)))
        work.mkdir(parents=True, exist_ok=True)

    def scores(self, name: str, settings: Starter, seed: int) -> PairScores:
        """The pair scores."""
        file = self.work / f"{name.replace(' / ', '_over_').replace(' ', '_')}-{seed}.npz"
        if not file.exists():
            start = time.monotonic()
            config = configuration(settings, seed, self.pixels)
            if name == FROZEN:
                found = self._judged(model := build_model(unadapted(config), None, self.mesh), model.trainable)
            else:
                model = build_model(config, self.source.num_classes, self.mesh)
                found = self._judged(model, trained(model, self.mesh, config, self.images, self.source.labels))
            write_scores(file, {name: found})
            print(f"{name}, seed {seed}: {figures(found)}, {time.monotonic() - start:.0f} s", flush=True)
        return next(iter(read_scores(file).values()))

    def _judged(self, model: Model, trainable: Any) -> PairScores:
        embedder = Embedder(model.recognizer, self.mesh, 256, self.pixels)
        return evaluate(embedder, model.frozen, trainable, {"pairs": self.benchmark}, True).scores["pairs"]


def figures(scores: PairScores) -> str:
    return f"{100 * scores.right.mean():.2f}%, AUC {roc_curve(scores.distance, scores.issame).auc():.4f}"


def row(name: str, settings: Starter, runs: list[PairScores], middle: list[PairScores]) -> dict[str, Any]:
    """The results of a cell over seeds, and the differences to the middle one."""
    areas = [roc_curve(one.distance, one.issame).auc() for one in runs]
    found = {
        "cell": name,
        "settings": dataclasses.asdict(settings),
        "accuracy": float(np.mean([one.right.mean() for one in runs])),
        "auc": float(np.mean(areas)),
        "auc_of_seeds": areas,
    }
    return found if name == MIDDLE else found | {"over_middle": compare_seeds(middle, runs).to_json()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", action="append", required=True, metavar="NAME=PEOPLE=TRAIN=BENCHMARK")
    parser.add_argument("--rate", type=float, help="of the middle cell [the rule's]")
    parser.add_argument("--cells", nargs="+", help="some of them [all]")
    parser.add_argument("--stored", type=int, default=56)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("runs/starter_rule"), help="where cells are kept")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    sets: list[dict[str, Any]] = []
    for text in options.faces:
        name, people, train, test = text.split("=")
        source = open_source(train, max_identities=int(people))
        part = Cells(source, open_benchmark(test), options.work / f"{name}-{people}", options.stored)
        rule = starter(len(source))
        middle = dataclasses.replace(rule, learning_rate=options.rate or rule.learning_rate)
        told = dict([*cells(middle), (FROZEN, middle)])
        told = {cell: told[cell] for cell in options.cells or told}
        print(f"{name}, {people} people, {len(source):,} images: {middle}", flush=True)
        every = {
            cell: [part.scores(cell, settings, seed) for seed in range(options.seeds)]
            for cell, settings in told.items()
        }
        rows = [row(cell, told[cell], runs, every[MIDDLE]) for cell, runs in every.items()]
        sets.append({"set": name, "people": int(people), "images": len(source), "rows": rows})
        result = {"machine": environment(), "stored": options.stored, "seeds": options.seeds, "sets": sets}
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
