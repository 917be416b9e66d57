# SPDX-License-Identifier: Apache-2.0
"""Short trainings on images held in memory at one size, for benchmarks with many of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from PIL import Image

from adaptface_jax.config.schema import Config
from adaptface_jax.data.decode import decode
from adaptface_jax.distributed.mesh import place
from adaptface_jax.losses.margin import init_statistics
from adaptface_jax.training import optim
from adaptface_jax.training.recognition.loss import make_loss
from adaptface_jax.training.recognition.model import Model
from adaptface_jax.training.step import init_state, make_step

TOLD = ("loss", "target_cosine", "keep", "gate/mean_0", "gate/keep_mean")  # of the step's metrics


def stored(images: Sequence[bytes | np.ndarray], pixels: int) -> np.ndarray:
    """uint8 [N, pixels, pixels, 3]."""
    found = np.empty((len(images), pixels, pixels, 3), np.uint8)
    for number, image in enumerate(images):
        whole = Image.fromarray(decode(image, f"image {number}"))
        found[number] = np.asarray(whole.resize((pixels, pixels), Image.Resampling.BICUBIC))
    return found


def trained(
    model: Model,
    mesh: jax.sharding.Mesh,
    config: Config,
    images: np.ndarray,
    labels: np.ndarray,
    trainable: Any = None,
    target: np.ndarray | None = None,
    keep: np.ndarray | None = None,
    kept: int = 0,
    told: int = 0,
) -> Any:
    """The trainable tree after `config.train.steps`, from the model's own or another one.

    target: float32 [N, K], what the gates should be. keep: uint8 [M, S, S, 3], of which `kept` with each batch.
    told: steps between two printed losses; 0 none.
    """
    size, seed = config.train.batch_size, config.seed
    rate = optim.schedule(config.train, len(labels) // size, config.train.steps)
    optimizer = optim.optimizer(config.train, rate)
    start = model.trainable if trainable is None else trainable
    state = place(mesh, init_state(start, optimizer, init_statistics()))
    step = make_step(make_loss(model.recognizer, mesh), optimizer, rate, mesh)
    key = place(mesh, jax.random.key(seed))
    beside = orders(0 if keep is None else len(keep), kept, config.train.steps, seed + 1)
    for number, rows in enumerate(orders(len(labels), size, config.train.steps, seed), 1):
        batch = {"image": images[rows], "label": labels[rows], "weight": np.ones(size, np.float32)}
        if target is not None:
            batch["domain"] = target[rows]
        if keep is not None:
            batch["keep"] = keep[next(beside)]
        state, metrics = step(model.frozen, state, batch, key)
        if told and number % told == 0:
            print(f"step {number}", *(f"{name} {metrics[name]:.3f}" for name in TOLD if name in metrics), flush=True)
    return state.trainable


def orders(images: int, size: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    """The rows of each step: epochs of permutations, whole batches only."""
    rng = np.random.default_rng(seed)
    while True:
        shuffled = rng.permutation(images)
        for start in range(0, images - size + 1, size):
            if steps == 0:
                return
            steps -= 1
            yield shuffled[start : start + size]
