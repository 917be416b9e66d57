"""What 8-bit kernels cost: features and verification accuracy, compared with the exact weights of the same backbone.

    python benchmarks/quantized.py --out=benchmarks/results/quantized.json
    python benchmarks/quantized.py --train --out=benchmarks/results/quantized.json   # and the demo trained on both

made: dinov2_vits14 at 112 px with synthetic weights, whose kernels have outputs of different scale, heavy tails and a
few strong inputs, like trained ones; demo: the packaged backbone on the images of the demo's benchmark. For the
features of each image: relative L2 distance and cosine to the exact ones. accuracy: of the demo's benchmark (LFW
protocol) by the frozen features, and with --train by the demo's recipe trained on each, for --seeds seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from showing import show

from adaptface_jax.config import overrides, recipes
from adaptface_jax.config.schema import Config
from adaptface_jax.core import trees
from adaptface_jax.data.benchmarks.from_path import open_benchmark
from adaptface_jax.distributed.fsdp import place_frozen
from adaptface_jax.distributed.mesh import make_mesh
from adaptface_jax.evaluation.embedding import Embedder
from adaptface_jax.evaluation.evaluator import evaluate
from adaptface_jax.models import vit
from adaptface_jax.models.recognizer import Recognizer
from adaptface_jax.models.specs import backbone_spec
from adaptface_jax.training.recognition.model import build_model, unadapted

KINDS = ("none", "int8")
BATCH, IMAGES = 32, 96  # of a forward pass; of the benchmark, through the made backbone


def with_kernels(config: Config, quantize: str) -> Config:
    """The settings with the kernels of the backbone stored so, in float32 otherwise."""
    return dataclasses.replace(
        config, backbone=dataclasses.replace(config.backbone, quantize=quantize, dtype="float32")
    )


def distances(exact: np.ndarray, rounded: np.ndarray) -> dict[str, float]:
    """Of features [M, d]: the relative L2 distance and the cosine of each row, mean and worst."""
    exact, rounded = exact.astype(np.float64), rounded.astype(np.float64)
    norms = np.linalg.norm(exact, axis=1)
    relative = np.linalg.norm(rounded - exact, axis=1) / norms
    cosine = (exact * rounded).sum(axis=1) / norms / np.linalg.norm(rounded, axis=1)
    return {
        "images": len(exact),
        "relative_l2_mean": float(relative.mean()),
        "relative_l2_worst": float(relative.max()),
        "cosine_mean": float(cosine.mean()),
        "cosine_worst": float(cosine.min()),
    }


def made_weights(name: str, size: int) -> dict[str, Any]:
    """A backbone with the statistics of a trained one: Student's t with 5 degrees of freedom, outputs whose sizes
    differ by a log-normal factor (sigma 0.4), one input in a hundred five times as strong."""
    rng = np.random.default_rng(0)
    leaves = {}
    for path, shape in trees.flatten(vit.definition(backbone_spec(name), size)[1]).items():
        dims = shape.shape
        noise = rng.standard_t(5, dims).astype(np.float32)
        if path.endswith("/kernel"):
            outputs = np.exp(0.4 * rng.standard_normal((*dims[:-2], 1, dims[-1])))
            inputs = np.where(rng.random((*dims[:-2], dims[-2], 1)) < 0.01, 5, 1)
            leaves[path] = (noise * outputs * inputs / np.sqrt(dims[-2])).astype(np.float32)
        elif path.endswith("/gamma"):
            leaves[path] = np.exp(0.5 * rng.standard_normal(dims) - 1.5).astype(np.float32)
        elif path.endswith("/scale"):
            leaves[path] = np.exp(0.3 * rng.standard_normal(dims)).astype(np.float32)
        else:
            leaves[path] = 0.1 * noise
    return trees.unflatten(leaves)


def made(images: list[Any]) -> dict[str, Any]:
    """Features of made weights."""
    name, size, mesh = "dinov2_vits14", 112, make_mesh(jax.devices()[:1])
    config = unadapted(Config())
    config = dataclasses.replace(config, backbone=dataclasses.replace(config.backbone, name=name, image_size=size))
    params = made_weights(name, size)
    found, sizes = [], []
    for kind in KINDS:
        recognizer = Recognizer(backbone_spec(name), with_kernels(config, kind), np.float32)
        frozen = place_frozen(mesh, recognizer.init(params, None)[0], 1)
        found.append(Embedder(recognizer, mesh, BATCH)(frozen, {}, images, flip=False).feature)
        sizes.append(trees.nbytes(frozen))
    return {"backbone": name, "bytes": dict(zip(KINDS, sizes, strict=True)), **distances(*found)}


def demo(config: Config) -> dict[str, Any]:
    """Features of the packaged backbone, and what they verify."""
    mesh = make_mesh(jax.devices()[:1])
    benchmark = open_benchmark(config.data.benchmarks["faces"])
    found, accuracies = [], {}
    for kind in KINDS:
        model = build_model(unadapted(with_kernels(config, kind)), None, mesh)
        embedder = Embedder(model.recognizer, mesh, BATCH, model.stored_size)
        found.append(embedder(model.frozen, {}, benchmark.images, flip=False).feature)
        entry = evaluate(embedder, model.frozen, {}, {"faces": benchmark}, True).results["faces"]
        accuracies[kind] = {"accuracy": entry.accuracy, "auc": entry.auc, "pairs": len(benchmark.issame)}
    return {"backbone": "demo", **distances(*found), "frozen": accuracies}


def trained(kind: str, seed: int) -> dict[str, float]:
    """Accuracy and AUC of the demo's recipe on kernels stored so."""
    with tempfile.TemporaryDirectory() as folder:
        settings = (f"--config.backbone.quantize={kind}", f"--config.seed={seed}", "--config.eval.every_epochs=0")
        command = [sys.executable, "-m", "adaptface_jax.train", "--config=demo", f"--workdir={folder}/run", *settings]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        entry = json.loads((Path(folder) / "run" / "results.json").read_text())["benchmarks"]["faces"]
    return {name: entry[name] for name in ("accuracy", "auc")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true", help="train the demo on both, too")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each [1]")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    config = overrides.freeze(recipes.load("demo"))
    assert isinstance(config, Config)
    images = list(open_benchmark(config.data.benchmarks["faces"]).images)[:IMAGES]
    result: dict[str, Any] = {"made": made(images), "demo": demo(config)}
    show(result, args.out)
    for seed in range(args.seeds if args.train else 0):
        for kind in KINDS:
            result.setdefault("trained", {}).setdefault(kind, []).append(trained(kind, seed))
            show(result, args.out)


if __name__ == "__main__":
    main()
