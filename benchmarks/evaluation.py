"""The cost of evaluation: the metrics of five benchmarks from embeddings, and a pass of ViT-S compared with embedding
alone.

    python benchmarks/evaluation.py --out=benchmarks/results/evaluation.json

Metrics: 5 x 6,000 pairs of 512 dimensions with flip test, every metric with its interval. Pass: JPEG images of 112 px
decoded on the host, embedded and evaluated, compared with the same compiled function on a batch on the device.
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image
from showing import show

from adaptface_jax.config.schema import BackboneConfig, Config
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.distributed.mesh import make_mesh, sharding
from adaptface_jax.evaluation.distances import indexed_distances
from adaptface_jax.evaluation.embedding import Embedder, make_embed
from adaptface_jax.evaluation.evaluator import benchmark_result, evaluate
from adaptface_jax.evaluation.verification import judge_pairs
from adaptface_jax.training.recognition.model import build_model, unadapted


def pairs(count: int, images: int) -> tuple[np.ndarray, np.ndarray]:
    """(index [2 count], issame [count]): half of them genuine, in every tenth."""
    index = np.random.default_rng(0).integers(0, images, 2 * count).astype(np.int32)
    return index, np.arange(count) // (count // 20) % 2 == 0


def figures_seconds(repeats: int) -> float:
    """Fastest of some passes over five benchmarks of 6,000 pairs, from embeddings to metrics."""
    rng = np.random.default_rng(1)
    index, issame = np.arange(12_000, dtype=np.int32), pairs(6_000, 12_000)[1]
    first = rng.standard_normal((6_000, 512)).astype(np.float32)
    noise = rng.standard_normal((6_000, 512)).astype(np.float32)
    second = np.where(issame[:, None], first + 1.2 * noise, noise)
    embeddings = np.stack([first, second], axis=1).reshape(12_000, 512)
    flipped = embeddings + 0.1 * rng.standard_normal(embeddings.shape).astype(np.float32)
    benchmark = Benchmark([b""] * 12_000, index, issame, "made")
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(5):
            distances = indexed_distances(embeddings, index, flipped)
            benchmark_result(judge_pairs(distances, issame), benchmark)
        times.append(time.perf_counter() - start)
    return min(times)


def jpeg(rng: np.random.Generator) -> bytes:
    """A synthetic image that compresses about like a face."""
    small = rng.integers(0, 256, (14, 14, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((112, 112), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def pass_rates(images: int, size: int, batch: int) -> dict[str, Any]:
    """Images/s of embedding alone and of the whole evaluation, in turns."""
    mesh = make_mesh()
    backbone = BackboneConfig(name="dinov2_vits14", image_size=size)
    model = build_model(unadapted(Config(backbone=backbone)), None, mesh)
    rng = np.random.default_rng(0)
    index, issame = pairs(images, images)
    benchmark = Benchmark([jpeg(rng) for _ in range(images)], index, issame, "made")
    embedder, embed = Embedder(model.recognizer, mesh, batch), make_embed(model.recognizer, mesh)
    placed = jax.device_put(np.zeros((batch, 112, 112, 3), np.uint8), sharding(mesh, "batch"))
    jax.block_until_ready(embed(model.frozen, {}, placed, True))
    evaluate(embedder, model.frozen, {}, {"made": benchmark}, True)
    alone, whole = [], []
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(-(-images // batch)):
            jax.block_until_ready(embed(model.frozen, {}, placed, True))
        alone.append(images / (time.perf_counter() - start))
        start = time.perf_counter()
        evaluate(embedder, model.frozen, {}, {"made": benchmark}, True)
        whole.append(images / (time.perf_counter() - start))
    return {"embedding_alone": max(alone), "evaluation": max(whole), "ratio": max(whole) / max(alone)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=192)
    parser.add_argument("--size", type=int, default=112, help="input of the backbone, in pixels [112]")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    result = {
        "figures_of_5_benchmarks_seconds": figures_seconds(5),
        "images_per_second": pass_rates(args.images, args.size, args.batch),
        "image_size": args.size,
    }
    show(result, args.out)


if __name__ == "__main__":
    main()
