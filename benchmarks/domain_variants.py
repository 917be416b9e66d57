"""What domain-aware adaptation gains on real faces: every variant compared with LoRA of the same size, over seeds.

    python benchmarks/domain_variants.py --train=FILM/train --test=FILM/test --out=benchmarks/results/domains_film.json
    python benchmarks/domain_variants.py --train=PHOTOS --test=PHOTOS/photos.bin --labels=labels.csv \\
        --variants lora16 lora48 dalora shared --out=benchmarks/results/domains_photos.json

Trains each variant with the settings of configs/small_faces.py on images that are stored (and seen) at --stored pixels,
so that five seeds of each fit into hours on two cores. `cross` are the benchmark's pairs that are not easy, by its own
sorting. Differences are to lora48, which has as many parameters; intervals and p-values resample people and seeds
(adaptface_jax.evaluation.statistics). Runs already in --work are not repeated.

`annotated` takes the conditions from --made, a table of `adaptface annotate`, instead of people's labels; `... + head`
are heads fitted to lora48 afterwards (domain_head.py).
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import domain_head
import jax
import numpy as np
from small_trainings import stored, trained

from adaptface_jax.config import schema as settings
from adaptface_jax.config.overrides import freeze
from adaptface_jax.config.recipes import load
from adaptface_jax.core.environment import environment
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.benchmarks.from_path import open_benchmark
from adaptface_jax.data.domains import parse_domains
from adaptface_jax.data.labels import LabelTable, read_labels
from adaptface_jax.data.record import Images, Keys
from adaptface_jax.data.sources.from_path import open_source
from adaptface_jax.data.sources.labeled import labels_beside
from adaptface_jax.distributed.mesh import make_mesh, place
from adaptface_jax.evaluation.distances import indexed_distances
from adaptface_jax.evaluation.embedding import Embedder, Embeddings
from adaptface_jax.evaluation.evaluator import judged_benchmark
from adaptface_jax.evaluation.pair_scores import PairScores, read_scores, write_scores
from adaptface_jax.evaluation.roc import roc_curve
from adaptface_jax.evaluation.statistics.paired_test import compare_seeds
from adaptface_jax.training.recognition.model import build_model

YARDSTICK = "lora48"
THREE = "pose=left|right; age=old|child; light=bad"
FOUR = f"ordinary; {THREE}"
MADE = "ordinary; pose=left|right; light=dark"  # what `annotate` knows
LARGE = {"kind": "lora", "rank": 48, "alpha": 48.0}
GATED = {"kind": "dalora", "rank": 16, "alpha": 48.0, "domain_loss_weight": 1.0}
SHARED = GATED | {"num_domains": 4, "rank": 8, "shared_rank": 16, "alpha": 32.0}


@dataclasses.dataclass(frozen=True)
class Variant:
    """adapter: its settings. domains: as data.domains. rate: the learning rate, where it is not the recipe's."""

    adapter: dict[str, Any]
    domains: str = ""
    rate: float | None = None
    made: bool = False
    warm: bool = False


VARIANTS = {
    "frozen": Variant({"kind": "none"}),
    "lora16": Variant({"kind": "lora"}),
    "lora48": Variant(LARGE),
    "lora48, rate / 2": Variant(LARGE, rate=1.5e-3),
    "lora48, rate x 2": Variant(LARGE, rate=6e-3),
    "dalora": Variant({"kind": "dalora", "domain_loss_weight": 1.0}, THREE),
    "scaled": Variant(GATED, THREE),
    "scaled, rate / 2": Variant(GATED, THREE, rate=1.5e-3),
    "frozen router": Variant(GATED | {"router": "frozen"}, THREE),
    "unlabeled": Variant(GATED | {"domain_loss_weight": 0.1, "balance_weight": 0.5}),
    "ordinary": Variant(GATED | {"num_domains": 4, "rank": 12}, FOUR),
    "shared, no ordinary": Variant(GATED | {"rank": 8, "shared_rank": 24, "alpha": 24.0}, THREE),
    "shared": Variant(SHARED, FOUR),
    "shared, alpha x 2": Variant(SHARED | {"alpha": 64.0}, FOUR),
    "annotated": Variant(GATED | {"rank": 12, "shared_rank": 12, "alpha": 36.0}, MADE, made=True),
    "warm": Variant(GATED, THREE, warm=True),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Data:
    """Both sets, decoded and at the stored size, and the tables of the training images."""

    images: np.ndarray
    labels: np.ndarray
    people: int
    benchmark: Benchmark
    table: LabelTable | None
    made: LabelTable | None


def open_data(options: argparse.Namespace) -> Data:
    source, benchmark = open_source(options.train), open_benchmark(options.test)
    labels = options.labels or labels_beside(options.train)
    table, made = (read_labels(Path(file), Keys(source)) if file else None for file in (labels, options.made))
    pairs = dataclasses.replace(benchmark, images=list(stored(benchmark.images, options.stored)))
    return Data(stored(Images(source), options.stored), source.labels, source.num_classes, pairs, table, made)


def configuration(variant: Variant, seed: int, options: argparse.Namespace) -> settings.Config:
    changes = {f"adapter.{name}": value for name, value in variant.adapter.items()}
    changes |= {"seed": seed, "train.steps": options.steps, "backbone.image_size": options.stored}
    if variant.adapter["kind"] == "none":
        changes["head.kind"] = "none"
    if variant.rate:
        changes["train.learning_rate"] = variant.rate
    config = load("small_faces")
    config.update_from_flattened_dict(changes)
    frozen = freeze(config)
    assert isinstance(frozen, settings.Config)
    return frozen


def targets(variant: Variant, data: Data) -> np.ndarray | None:
    """float32 [N, K], what the gates should be; None without domains."""
    table = data.made if variant.made else data.table
    if not variant.domains or table is None:
        return None
    member = parse_domains(variant.domains).membership(table).astype(np.float32)
    return member / np.maximum(member.sum(axis=1, keepdims=True), 1)


class Runs:
    """Trainings and their pair scores, each kept in the work folder."""

    def __init__(self, data: Data, options: argparse.Namespace) -> None:
        self.data, self.options, self.mesh = data, options, make_mesh()
        options.work.mkdir(parents=True, exist_ok=True)

    def scores(self, name: str, seed: int) -> dict[str, PairScores]:
        """The scores of a variant, and of the heads fitted to it."""
        file = self.options.work / f"{name.replace(' / ', '_over_').replace(', ', '_').replace(' ', '_')}-{seed}.npz"
        if not file.exists():
            start = time.monotonic()
            found = self._train(VARIANTS[name], name, seed)
            write_scores(file, found)
            first = found[name]
            area = roc_curve(first.distance, first.issame).auc()
            print(f"{name}, seed {seed}: AUC {100 * area:.2f}, {time.monotonic() - start:.0f} s", flush=True)
        return read_scores(file)

    def _train(self, variant: Variant, name: str, seed: int) -> dict[str, PairScores]:
        data, config = self.data, configuration(variant, seed, self.options)
        model = build_model(config, data.people, self.mesh)
        trainable = self._warm(model.trainable, seed) if variant.warm else model.trainable
        if variant.adapter["kind"] != "none":
            target = targets(variant, data)
            trainable = trained(model, self.mesh, config, data.images, data.labels, trainable, target)
        embedder = Embedder(model.recognizer, self.mesh, 256)
        test = embedder(model.frozen, trainable, data.benchmark.images, flip=True)
        made = {name: self._judged(test.embedding, test.flipped)}
        if name == YARDSTICK:
            self._keep(trainable, seed)
            if data.table is not None:
                made |= self._heads(embedder(model.frozen, trainable, list(data.images), flip=False), test)
        return made

    def _judged(self, embedding: np.ndarray, flipped: np.ndarray | None) -> PairScores:
        benchmark = self.data.benchmark
        judged = judged_benchmark(indexed_distances(embedding, benchmark.index, flipped), benchmark)
        members, names = benchmark.pairs_of_domains()
        if "easy" in names:
            hard = ~members[:, names.index("easy")]
            members, names = np.column_stack([hard, members]), ("cross", *names)
        return PairScores(
            judged.distances, benchmark.issame, judged.accepted, benchmark.index, None, benchmark.fold,
            benchmark.person, members if names else None, np.array(names) if names else None,
        )  # fmt: skip

    def _heads(self, train: Embeddings, test: Embeddings) -> dict[str, PairScores]:
        """From embeddings summed with the mirror image's, as in the protocol."""
        frozen = self._frozen_features
        known = domain_head.TrainingImages(
            train.embedding, frozen[0], self.data.labels, targets(VARIANTS["dalora"], self.data) > 0
        )
        return {
            f"{YARDSTICK} + {name}": self._judged(head(test.embedding, frozen[1]), head(test.flipped, frozen[1]))
            for name, head in domain_head.fit(known).items()
        }

    @functools.cached_property
    def _frozen_features(self) -> tuple[np.ndarray, np.ndarray]:
        model = build_model(configuration(VARIANTS["frozen"], 0, self.options), None, self.mesh)
        embedder = Embedder(model.recognizer, self.mesh, 256)
        both = (list(self.data.images), self.data.benchmark.images)
        train, test = (embedder(model.frozen, model.trainable, images, flip=False).feature for images in both)
        return train, test

    def _keep(self, trainable: Any, seed: int) -> None:
        leaves = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(trainable)}
        np.savez(self.options.work / f"{YARDSTICK}-{seed}.trained.npz", **{k: np.asarray(v) for k, v in leaves.items()})

    def _warm(self, trainable: Any, seed: int) -> Any:
        """The trainable tree with every leaf that the yardstick has in the same shape."""
        self.scores(YARDSTICK, seed)
        with np.load(self.options.work / f"{YARDSTICK}-{seed}.trained.npz") as kept:

            def start(path: Any, leaf: jax.Array) -> Any:
                before = kept.get(jax.tree_util.keystr(path))
                return leaf if before is None or before.shape != leaf.shape else before

            return place(self.mesh, jax.tree_util.tree_map_with_path(start, jax.device_get(trainable)))


def rows_of(runs: Sequence[dict[str, PairScores]]) -> list[dict[str, Any]]:
    """A row per variant: AUC and ten-fold accuracy over seeds, and the differences to the yardstick."""
    rows = []
    for name in runs[0]:
        mine = [run[name] for run in runs]
        parts = {"all": np.ones(len(mine[0].issame), bool)} | mine[0].domains()
        row: dict[str, Any] = {"variant": name, "seeds": len(mine), "auc": {}, "auc_of_seeds": {}}
        for part, chosen in parts.items():
            areas = [roc_curve(one.distance[chosen], one.issame[chosen]).auc() for one in mine]
            row["auc"][part], row["auc_of_seeds"][part] = float(np.mean(areas)), areas
        row["accuracy"] = float(np.mean([one.right.mean() for one in mine]))
        if name != YARDSTICK and YARDSTICK in runs[0]:
            row["over_lora48"] = compare_seeds([run[YARDSTICK] for run in runs], mine).to_json()
        rows.append(row)
    return rows


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    areas = [f"{100 * area:.2f}" for area in row["auc"].values()]
    if found := row.get("over_lora48"):
        found = found["domains"].get("cross", found)
        low, high = (100 * bound for bound in found["auc_interval"])
        said = [f"{100 * found['auc_difference']:+.2f}", f"{low:+.2f} to {high:+.2f}", f"{found['auc_p']:.3f}"]
    else:
        said = ["", "", ""]
    return "| " + " | ".join([row["variant"], *areas, f"{100 * row['accuracy']:.2f}%", *said]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--labels", default="", help="of the training images; default: labels.csv in their folder")
    parser.add_argument("--made", default="", help="their labels as `adaptface annotate` makes them")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--stored", type=int, default=56)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("runs/domain_variants"), help="where runs are kept")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    runs = Runs(open_data(options), options)
    found: list[dict[str, PairScores]] = []
    for seed in range(options.seeds):
        scores: dict[str, PairScores] = {}
        for name in options.variants:
            scores |= runs.scores(name, seed)
        found.append(scores)
        rows = rows_of(found)
        parts = list(rows[0]["auc"])
        print("| variant | " + " | ".join(f"AUC {part}" for part in parts) + " | accuracy | over lora48 | 95% | p |")
        print("\n".join(line(row) for row in rows), flush=True)
    told = {name: dataclasses.asdict(VARIANTS[name]) for name in options.variants}
    facts = {"train": len(runs.data.labels), "people": runs.data.people, "pairs": len(runs.data.benchmark.issame)}
    kept = {name: getattr(options, name) for name in ("stored", "steps", "seeds")}
    result = {"machine": environment(), **facts, **kept, "variants": told, "rows": rows}
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
