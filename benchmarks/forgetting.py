# SPDX-License-Identifier: Apache-2.0
"""What a face model loses when it is adapted to a hard condition, and what keeps it: on generated people.

    python benchmarks/forgetting.py --work=/tmp/forgetting --out=benchmarks/results/forgetting.json
    python benchmarks/forgetting.py --config=my_face_model.py --face_steps=0 --work=... --out=...

A small vision transformer becomes a face model first (--face_steps of full fine-tuning of the recipe's backbone on
generated people; 0 takes a backbone that is one already). Then each variant adapts it to other people, whose pictures
are all of low resolution and blurred, and is verified on third ones: `original` are their pictures as rendered, `hard`
the same pairs of the same pictures made worse. Differences are to the face model, in accuracy, with 95% intervals that
resample people (adaptface_jax.evaluation.statistics). Old pictures, where a variant sees any, are of the people that
the face model was trained on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from small_trainings import trained

from adaptface_jax.config.overrides import freeze
from adaptface_jax.config.recipes import load
from adaptface_jax.config.schema import Config
from adaptface_jax.core.environment import environment
from adaptface_jax.data.augmentation.quality import blurred, levels, shrunk
from adaptface_jax.data.benchmarks.from_path import open_benchmark
from adaptface_jax.data.sources.from_path import open_form
from adaptface_jax.distributed.mesh import make_mesh, place
from adaptface_jax.evaluation.distances import indexed_distances
from adaptface_jax.evaluation.embedding import Embedder, Embeddings
from adaptface_jax.evaluation.evaluator import judged_benchmark
from adaptface_jax.evaluation.pair_scores import PairScores
from adaptface_jax.evaluation.statistics.paired_test import compare
from adaptface_jax.models.recognizer import Recognizer
from adaptface_jax.training.recognition.model import Model
from adaptface_jax.training.recognition.model import load as load_model

PEOPLE = "synthetic:identities={},images=6,seed={},labels=none"
# Of the hard condition: sides as a fraction of the picture's, standard deviations of the blur in pixels.
SIDES, BLURS = (0.06, 0.09), (1.0, 3.0)
NULL = {"kind": "dalora", "num_domains": 2, "null_expert": True, "gate": "top1", "domain_loss_weight": 10.0}
VARIANTS: dict[str, dict[str, Any]] = {
    "null expert, keep": {"adapter": NULL, "keep": 10.0},
    "null expert, frozen router, keep": {"adapter": NULL | {"router": "frozen"}, "keep": 10.0},
    "full fine-tuning": {"adapter": {"kind": "full"}, "rate": 0.25},
    "LoRA": {"adapter": {"kind": "lora"}},
    "LoRA, keep": {"adapter": {"kind": "lora"}, "keep": 10.0},
}


def worse(images: np.ndarray, seed: int) -> np.ndarray:
    """uint8 [N, S, S, 3] of low resolution and blurred, each to a degree of its own."""
    rng, size = np.random.default_rng(seed), images.shape[1]
    shares, sigmas = rng.uniform(*SIDES, len(images)), rng.uniform(*BLURS, len(images))

    @jax.jit
    def one(image: jax.Array, share: jax.Array, sigma: jax.Array) -> jax.Array:
        axis = shrunk(size, share) @ blurred(size, sigma)
        return levels(jnp.einsum("ij,jkc,lk->ilc", axis, image.astype(jnp.float32), axis))

    rows = zip(images, np.float32(shares), np.float32(sigmas), strict=True)
    return np.stack([np.asarray(one(*row)) for row in rows])


def pictures(spec: str, work: Path) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [N, 112, 112, 3] and int32 [N], rendered once."""
    source = open_form(spec)
    file = work / (spec.partition(":")[2].replace("=", "").replace(",", "_") + ".npy")
    if not file.exists():
        np.save(file, np.stack([source[i].image for i in range(len(source))]))
    return np.load(file), source.labels


def model_of(config: Config, params: Any, classes: int, spec: Any, dtype: Any, mesh: Any) -> Model:
    """A fresh model on a backbone's parameters."""
    recognizer = Recognizer(spec, config, dtype)
    frozen, trainable = recognizer.init(params, classes)
    return Model(recognizer, place(mesh, frozen), place(mesh, trainable), {}, stored_size=112)


def scores(found: Embeddings, benchmark: Any) -> tuple[PairScores, float]:
    """What became of the pairs, and the accuracy."""
    judged = judged_benchmark(indexed_distances(found.embedding, benchmark.index), benchmark)
    kept = PairScores(
        judged.distances, benchmark.issame, judged.accepted, benchmark.index, None, benchmark.fold, benchmark.person
    )
    return kept, float(np.mean(judged.accepted == benchmark.issame))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="demo", help="its backbone, seed, batch size, loss and learning rate")
    parser.add_argument("--image_size", type=int, default=56)
    parser.add_argument("--face_steps", type=int, default=300)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--old", type=int, default=150, help="people that the face model is trained on")
    parser.add_argument("--new", type=int, default=100, help="people that it is adapted to")
    parser.add_argument("--people", type=int, default=200, help="people that it is verified on")
    parser.add_argument("--pairs", type=int, default=3000)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--work", type=Path, required=True, help="pictures and the face model are kept here")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    given = load(args.config)
    given.backbone.image_size = args.image_size
    given.head.kind, given.data.benchmarks = "none", {}
    given.loss.scale, given.loss.margin = 32.0, 0.2
    given.train.schedule, given.train.warmup_steps = "cosine", 20
    mesh = make_mesh()

    def settings(adapter: dict[str, Any], steps: int, rate: float = 1.0, keep: float = 0.0) -> Config:
        config = given.copy_and_resolve_references()
        config.adapter.update(adapter)
        config.train.steps = steps
        config.train.learning_rate = given.train.learning_rate * rate
        config.loss.keep_weight = keep
        frozen = freeze(config)
        assert isinstance(frozen, Config)
        return frozen

    old, old_labels = pictures(PEOPLE.format(args.old, 11), args.work)
    new, new_labels = pictures(PEOPLE.format(args.new, 12), args.work)
    new = worse(new, 1)
    benchmark = open_benchmark(f"{PEOPLE.format(args.people, 13)},pairs={args.pairs}")
    sets = {"original": np.stack(benchmark.images)}
    sets["hard"] = worse(sets["original"], 2)
    face = settings({"kind": "full"}, args.face_steps, 0.5)
    recognizer, backbone = load_model(face)
    spec, dtype, params = recognizer.spec, recognizer.dtype, backbone.params
    kept = args.work / f"face_{args.face_steps}_{args.old}.npz"
    if kept.exists():
        leaves, structure = jax.tree.flatten(params)
        with np.load(kept) as file:
            params = structure.unflatten([file[str(i)] for i in range(len(leaves))])
    elif args.face_steps:
        begun = time.time()
        model = model_of(face, params, args.old, spec, dtype, mesh)
        params = jax.device_get(trained(model, mesh, face, old, old_labels)["backbone"])
        np.savez(kept, **{str(i): leaf for i, leaf in enumerate(jax.tree.leaves(params))})
        print(f"the face model: {args.face_steps} steps in {time.time() - begun:.0f} s", flush=True)

    def embedded(model: Model) -> dict[str, Embeddings]:
        embedder = Embedder(model.recognizer, mesh, 64, 112)
        return {name: embedder(model.frozen, model.trainable, images, False) for name, images in sets.items()}

    start = embedded(model_of(settings({"kind": "none"}, 1), params, args.new, spec, dtype, mesh))
    before = {name: scores(found, benchmark) for name, found in start.items()}
    report: dict[str, Any] = {
        "environment": environment(),
        "settings": {key: value if not isinstance(value, Path) else value.name for key, value in vars(args).items()},
        "hard": {"sides": SIDES, "blurs": BLURS},
        "face_model": {name: accuracy for name, (_, accuracy) in before.items()},
        "variants": {},
    }
    print({name: f"{100 * accuracy:.2f}" for name, accuracy in report["face_model"].items()}, flush=True)
    for name in args.variants:
        variant, begun = VARIANTS[name], time.time()
        config = settings(variant["adapter"], args.steps, variant.get("rate", 1.0), variant.get("keep", 0.0))
        model = model_of(config, params, args.new, spec, dtype, mesh)
        after = trained(model, mesh, config, new, new_labels, keep=old if variant.get("keep") else None)
        found = embedded(dataclasses.replace(model, trainable=after))
        row: dict[str, Any] = {"seconds": round(time.time() - begun, 1)}
        for benched, vectors in found.items():
            compared = compare(before[benched][0], scores(vectors, benchmark)[0])
            row[benched] = {
                "accuracy": scores(vectors, benchmark)[1],
                "points": 100 * compared.accuracy_difference,
                "interval": [100 * end for end in compared.accuracy_interval],
                "people": compared.people,
                "same_bits": float(np.mean((vectors.embedding == start[benched].embedding).all(axis=1))),
            }
            if vectors.gate is not None:
                row[benched]["null"] = float(np.mean(vectors.gate.argmax(axis=1) == vectors.gate.shape[1] - 1))
        report["variants"][name] = row
        print(
            f"{name:34}"
            + "  ".join(
                f"{benched} {100 * row[benched]['accuracy']:.2f} ({row[benched]['points']:+.2f}, "
                f"{row[benched]['interval'][0]:+.2f} to {row[benched]['interval'][1]:+.2f})"
                for benched in sets
            ),
            flush=True,
        )
        args.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
