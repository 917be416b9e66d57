"""The step of the classification studies as `classify` runs it, starting from uint8 images."""

from __future__ import annotations

import dataclasses
import time

import flax
import jax
import numpy as np
import optax
from classifier_step import Problem
from serving import Ready, serve

from adaptface_jax.config import overrides, recipes
from adaptface_jax.config.classification import AugmentConfig
from adaptface_jax.distributed.compiler import convolution_options
from adaptface_jax.distributed.mesh import make_mesh, sharding
from adaptface_jax.models.classifier import Classifier
from adaptface_jax.models.recognizer import compute_dtype
from adaptface_jax.models.specs import IMAGENET
from adaptface_jax.training import optim
from adaptface_jax.training.classification.loss import make_loss
from adaptface_jax.training.step import init_state, make_step


def build(problem: Problem) -> Ready:
    config = overrides.freeze(recipes.load(problem.recipe))
    augment = config.augment if problem.variant == "ours_augmented" else AugmentConfig(flip=False)
    mesh = make_mesh(jax.devices()[:1])
    on_cpu = jax.default_backend() == "cpu"
    classifier = Classifier(config.model, problem.outputs, compute_dtype("auto"), on_cpu)
    params, moments = classifier.init(0)
    rng = np.random.default_rng(0)
    size, count = config.model.image_size, config.train.batch_size
    shape = (count, problem.outputs) if problem.multi_label else (count,)
    batch = {
        "image": rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8),
        "label": rng.integers(0, 2 if problem.multi_label else problem.outputs, shape, dtype=np.int32),
        "weight": np.ones(count, np.float32),
    }
    batch = jax.device_put(batch, sharding(mesh, "batch"))
    rate = optim.schedule(dataclasses.replace(config.train, warmup_steps=0, schedule="constant"), 1000, 1000)
    optimizer = optim.optimizer(config.train, rate)
    carried = [jax.device_put(init_state(params, optimizer, moments), sharding(mesh))]
    key = jax.device_put(jax.random.key(0), sharding(mesh))
    start = time.perf_counter()
    step = make_step(
        make_loss(classifier, augment, IMAGENET), optimizer, rate, mesh, compiler_options=convolution_options()
    )
    compiled = step.lower({}, carried[0], batch, key).compile()
    compile_seconds = time.perf_counter() - start
    carried[0], metrics = compiled({}, carried[0], batch, key)
    loss = float(metrics["loss"])

    def run(steps: int) -> float:
        start = time.perf_counter()
        for _ in range(steps):
            carried[0], metrics = compiled({}, carried[0], batch, key)
        jax.block_until_ready((carried[0], metrics))
        return time.perf_counter() - start

    run(1)
    device = jax.devices()[0]

    def peak_bytes() -> int | None:
        return None if device.platform == "cpu" else device.memory_stats()["peak_bytes_in_use"]

    versions = {"jax": jax.__version__, "flax": flax.__version__, "optax": optax.__version__}
    facts = {"compile_seconds": compile_seconds, "first_loss": loss, "device": device.device_kind, "versions": versions}
    return Ready(run, peak_bytes, facts)


if __name__ == "__main__":
    serve(build, Problem)
