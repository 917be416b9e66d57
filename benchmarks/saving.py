"""What a checkpoint costs the loop: the stall of each save, and how long it takes to be complete on disk.

    python benchmarks/saving.py --out=benchmarks/results/saving.json

The state of DINOv2 ViT-S/14 with DA-LoRA, trained patch embedding, head and 10,572 class centers with AdamW's moments.
Real steps (few pixels, so that a step is short), donated states, a save every `--every` steps through
`checkpoint.Checkpoints`: Orbax in the background, then the sha256 manifest.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from showing import show

from adaptface_jax.config.schema import AdapterConfig, BackboneConfig, Config, TrainConfig
from adaptface_jax.core import trees
from adaptface_jax.distributed.mesh import make_mesh, place, sharding
from adaptface_jax.losses.margin import init_statistics
from adaptface_jax.models import vit
from adaptface_jax.models.recognizer import Recognizer
from adaptface_jax.models.specs import backbone_spec
from adaptface_jax.training import optim
from adaptface_jax.training.checkpoint import Checkpoints
from adaptface_jax.training.recognition.loss import make_loss
from adaptface_jax.training.step import init_state, make_step

NAME, CLASSES, SIZE, BATCH = "dinov2_vits14", 10_572, 56, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--saves", type=int, default=15)
    parser.add_argument("--every", type=int, default=8, help="steps between two saves [8]")
    parser.add_argument("--folder", type=Path, help="where to save [a temporary folder]")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    config = Config(
        backbone=BackboneConfig(name=NAME, image_size=SIZE, train_patch_embed=True),
        adapter=AdapterConfig(kind="dalora"),
        train=TrainConfig(batch_size=BATCH),
    )
    mesh = make_mesh(jax.devices()[:1])
    recognizer = Recognizer(backbone_spec(NAME), config, np.float32)
    frozen, trainable = recognizer.init(vit.random_params(recognizer.built_spec, SIZE, 0), CLASSES)
    rate = optim.schedule(config.train, 100, 1000)
    optimizer = optim.optimizer(config.train, rate)
    frozen, state = (
        jax.device_put(frozen, sharding(mesh)),
        place(mesh, init_state(trainable, optimizer, init_statistics())),
    )
    rng = np.random.default_rng(0)
    batch = {
        "image": rng.integers(0, 256, (BATCH, SIZE, SIZE, 3), dtype=np.uint8),
        "label": rng.integers(0, CLASSES, BATCH).astype(np.int32),
        "weight": np.ones(BATCH, np.float32),
    }
    batch = jax.device_put(batch, sharding(mesh, "batch"))
    key = jax.random.key(0)
    step = (
        make_step(make_loss(recognizer, mesh), optimizer, rate, mesh, recognizer.config.train.grad_accum)
        .lower(frozen, state, batch, key)
        .compile()
    )
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    plain: list[float] = []
    with_save: list[float] = []
    calls: list[float] = []
    complete: list[float] = []
    with tempfile.TemporaryDirectory(dir=args.folder) as folder, Checkpoints(Path(folder), keep=2) as checkpoints:
        for number in range(1, args.saves * args.every + 1):
            before = time.perf_counter()
            state, metrics = step(frozen, state, batch, key)
            jax.block_until_ready(metrics)
            saving = number % args.every == 0
            if saving:
                start = time.perf_counter()
                checkpoints.save(number, state)
                calls.append(time.perf_counter() - start)
            if number > args.every:
                (with_save if saving else plain).append(time.perf_counter() - before)
            if saving and number % (2 * args.every) == 0:
                # Every other save is waited for; the others overlap with the next steps.
                checkpoints.wait()
                complete.append(time.perf_counter() - start)
    milliseconds = {
        "save_call_median": statistics.median(calls[1:]),
        "save_call_max": max(calls[1:]),
        "step_median": statistics.median(plain),
        "step_with_save_median": statistics.median(with_save),
        "complete_on_disk_median": statistics.median(complete),
    }
    result = {
        "state": f"{NAME}, DA-LoRA, {CLASSES} classes, AdamW",
        "trainable_parameters": trees.count(state.trainable),
        "state_megabytes": size / 1e6,
        "saves": args.saves,
        "milliseconds": {name: 1000 * value for name, value in milliseconds.items()},
    }
    show(result, args.out)


if __name__ == "__main__":
    main()
