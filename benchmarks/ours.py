# SPDX-License-Identifier: Apache-2.0
"""The step of `adaptface train`: uint8 images in, resized and normalized on the device."""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import Any

import flax
import jax
import numpy as np
import optax
from jax.sharding import Mesh
from serving import Problem, Ready, serve

from adaptface_jax.config import schema as settings
from adaptface_jax.data.augmentation.augment import preprocess
from adaptface_jax.distributed.allocator import compute_in_calling_thread
from adaptface_jax.distributed.compiler import transformer_options
from adaptface_jax.distributed.mesh import make_mesh, sharding
from adaptface_jax.losses.margin import init_statistics
from adaptface_jax.models.recognizer import Recognizer, compute_dtype
from adaptface_jax.models.specs import backbone_spec
from adaptface_jax.models.vit import random_params
from adaptface_jax.training.arithmetic import flops
from adaptface_jax.training.optim import optimizer, schedule
from adaptface_jax.training.recognition.loss import make_loss
from adaptface_jax.training.step import init_state, make_step

# variant -> settings of `adapter`; `frozen` is only a forward pass. lora48 is as large as each DA-LoRA.
VARIANTS: dict[str, dict[str, Any]] = {
    "lora": {"kind": "lora"},
    "lora48": {"kind": "lora", "rank": 48, "alpha": 48.0},
    "dalora_frozen": {"kind": "dalora", "router": "frozen"},
    "dalora_frozen_cached": {"kind": "dalora", "router": "frozen"},  # its features computed before the first step
    "dalora_block2": {"kind": "dalora", "router": "block:2"},
    "dalora_shared": {
        "kind": "dalora", "router": "block:2", "num_domains": 4, "rank": 8, "shared_rank": 16, "alpha": 32.0,
    },
    "frozen": {"kind": "none"},
}  # fmt: skip


def configuration(problem: Problem) -> settings.Config:
    adapter = {"rank": problem.rank, "alpha": float(problem.rank), "targets": problem.targets}
    return settings.Config(
        backbone=settings.BackboneConfig(name=problem.backbone, image_size=problem.image_size, dtype=problem.dtype),
        adapter=settings.AdapterConfig(**adapter | VARIANTS[problem.variant]),
        head=settings.HeadConfig(embedding_dim=problem.embedding_dim),
        loss=settings.LossConfig(scale=problem.scale, margin=problem.margin),
        train=settings.TrainConfig(
            batch_size=problem.batch_size, learning_rate=problem.learning_rate, weight_decay=problem.weight_decay
        ),
    )


def forward(recognizer: Recognizer, mesh: Mesh) -> jax.stages.Wrapped:
    """(frozen, trainable, images uint8) -> embeddings, as `embed` computes them."""
    size, stats, dtype = recognizer.config.backbone.image_size, recognizer.spec.stats, recognizer.dtype

    def embed(frozen: Any, trainable: Any, images: jax.Array) -> jax.Array:
        return recognizer.embed(frozen, trainable, preprocess(images, size, stats, dtype)).embedding

    replicated, rows = sharding(mesh), sharding(mesh, "batch")
    shardings = {"in_shardings": (replicated, replicated, rows), "out_shardings": rows}
    return jax.jit(embed, **shardings, compiler_options=transformer_options(dtype))


def build(problem: Problem) -> Ready:
    compute_in_calling_thread()
    config = configuration(problem)
    spec, mesh = backbone_spec(problem.backbone), make_mesh(jax.devices()[:1])
    recognizer = Recognizer(spec, config, compute_dtype(problem.dtype), mesh)
    replicated, rows = sharding(mesh), sharding(mesh, "batch")

    @functools.partial(jax.jit, out_shardings=replicated)  # a single program: a GPU takes seconds to compile thirty
    def drawn() -> Any:
        return recognizer.init(random_params(spec, problem.image_size, config.seed), problem.classes)

    frozen, trainable = drawn()
    rng = np.random.default_rng(0)
    shape = (problem.batch_size, problem.source_size, problem.source_size, 3)
    batch = {
        "image": rng.integers(0, 256, shape, dtype=np.uint8),
        "label": rng.integers(0, problem.classes, problem.batch_size, dtype=np.int32),
        "weight": np.ones(problem.batch_size, np.float32),
    }
    batch = jax.device_put(batch, rows)
    if problem.variant.endswith("_cached"):
        # Imported here, since it reads sets of images: the other variants run where only jax and flax are installed.
        from adaptface_jax.training.recognition.features import make_features

        batch |= {"feature": make_features(recognizer, mesh, 1 + config.augment.flip)(frozen, batch)}
    start = time.perf_counter()
    if problem.variant == "frozen":
        traced = forward(recognizer, mesh).trace(frozen, trainable, batch["image"])
        compiled = traced.lower().compile()
        arithmetic = flops(traced.jaxpr)
        compile_seconds = time.perf_counter() - start

        def run(steps: int) -> float:
            start = time.perf_counter()
            for _ in range(steps):
                out = compiled(frozen, trainable, batch["image"])
            jax.block_until_ready(out)
            return time.perf_counter() - start

        loss = None
    else:
        rate = schedule(config.train, steps_per_epoch=1000, total_steps=40_000)
        tx = optimizer(config.train, rate)
        carried = [jax.device_put(init_state(trainable, tx, init_statistics()), replicated)]
        key = jax.device_put(jax.random.key(config.seed), replicated)
        parts, options = recognizer.config.train.grad_accum, transformer_options(recognizer.dtype)
        step = make_step(make_loss(recognizer, mesh), tx, rate, mesh, parts, options)
        traced = step.trace(frozen, carried[0], batch, key)
        compiled = traced.lower().compile()
        compile_seconds = time.perf_counter() - start
        # Of the model as it is written, without what kernels compute twice or beside it.
        written = dataclasses.replace(config, backbone=dataclasses.replace(config.backbone, attention="whole"))
        plain = make_loss(dataclasses.replace(recognizer, config=written), mesh)
        arithmetic = flops(make_step(plain, tx, rate, mesh, parts).trace(frozen, carried[0], batch, key).jaxpr)

        def run(steps: int) -> float:
            start = time.perf_counter()
            for _ in range(steps):
                carried[0], metrics = compiled(frozen, carried[0], batch, key)
            jax.block_until_ready((carried[0], metrics))
            return time.perf_counter() - start

        carried[0], metrics = compiled(frozen, carried[0], batch, key)
        loss = float(metrics["loss"])
    run(1)
    device = jax.devices()[0]

    def peak_bytes() -> int | None:
        return None if device.platform == "cpu" else device.memory_stats()["peak_bytes_in_use"]

    return Ready(
        run,
        peak_bytes,
        {
            "compile_seconds": compile_seconds,
            "first_loss": loss,
            "attention": recognizer.attention,
            "flops": arithmetic,
            "device": device.device_kind,
            "versions": {"jax": jax.__version__, "flax": flax.__version__, "optax": optax.__version__},
        },
    )


if __name__ == "__main__":
    serve(build)
