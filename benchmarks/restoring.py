# SPDX-License-Identifier: Apache-2.0
"""What opening a run of many identities takes: the whole state, as for resuming, and only its model.

    python benchmarks/restoring.py --out=benchmarks/results/restoring.json

Each is read in its own process, from a checkpoint of a head and of class centers with AdamW's moments (random numbers),
without the check of its sha256.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from memory import resident
from showing import show

from adaptface_jax.distributed.mesh import make_mesh, sharding
from adaptface_jax.losses.margin import init_statistics
from adaptface_jax.training.checkpoint import Checkpoints
from adaptface_jax.training.step import TrainState, init_state

CLASSES, WIDTH = 500_000, 512


def state(classes: int, fill: Callable[[tuple[int, int]], Any]) -> TrainState:
    trainable = {"head": {"kernel": fill((384, WIDTH))}, "centers": fill((classes, WIDTH))}
    return init_state(trainable, optax.adamw(1e-3), init_statistics())


def read(folder: Path, classes: int, model_only: bool) -> None:
    where = sharding(make_mesh(jax.devices()[:1]))
    shapes = jax.eval_shape(lambda: state(classes, jnp.zeros))
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), shapes)
    start = time.perf_counter()
    with Checkpoints(folder, read_only=True) as checkpoints:
        jax.block_until_ready(checkpoints.restore(0, like, model_only).trainable["head"])
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_bytes": resident("VmHWM")}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=CLASSES)
    parser.add_argument("--read", nargs=2, metavar=("FOLDER", "whole|model"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.read:
        read(Path(args.read[0]), args.classes, args.read[1] == "model")
        return
    with tempfile.TemporaryDirectory() as name:
        written = jax.device_put(
            state(args.classes, lambda shape: np.random.default_rng(0).random(shape, np.float32)),
            sharding(make_mesh(jax.devices()[:1])),
        )
        with Checkpoints(Path(name)) as checkpoints:
            checkpoints.save(0, written)
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(written))
        del written
        result = {"classes": args.classes, "width": WIDTH, "state_bytes": size}
        for what in ("whole", "model"):
            command = [sys.executable, __file__, f"--classes={args.classes}", "--read", name, what]
            result[what] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    show(result, args.out)


if __name__ == "__main__":
    main()
