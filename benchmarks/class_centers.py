# SPDX-License-Identifier: Apache-2.0
"""What class centers cost: memory of a step at 1.4 million classes, and time and memory of real steps at 100,000.

    python benchmarks/class_centers.py --out=benchmarks/results/class_centers.json

memory: the real step (LoRA on ViT-S/14 at 112 px, embedding 512, global batch 1,024, centers split over 8 devices),
compiled for 8 host devices from shapes only; nothing is allocated. Per device, by `memory_analysis()`.
steps: the demo backbone, embedding 512, batch 128, 100,000 classes on one device, each setting in its own process, all
settings in turns; the median step, its CPU seconds, and the peak resident memory of the process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from memory import resident

SETTINGS = {
    "all": {},
    "a tenth": {"sample_rate": 0.1},
    "all, bfloat16": {"dtype": "bfloat16"},
    "a tenth, bfloat16": {"sample_rate": 0.1, "dtype": "bfloat16"},
}
HUGE, DEVICES, GLOBAL_BATCH = 1_400_000, 8, 1024
MANY, BATCH, STEPS = 100_000, 128, 4


def memory(setting: str) -> dict[str, Any]:
    """Bytes of the step on each device at HUGE classes."""
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES}"
    from from_shapes import compile_step

    from adaptface_jax.config.schema import BackboneConfig, Config, LossConfig, TrainConfig

    config = Config(
        backbone=BackboneConfig(name="dinov2_vits14", image_size=112, dtype="float32"),
        loss=LossConfig(**SETTINGS[setting]),
        train=TrainConfig(batch_size=GLOBAL_BATCH, model_parallel=DEVICES),
    )
    before = time.perf_counter()
    used, _ = compile_step(config, HUGE)
    return {
        "setting": setting,
        "classes": HUGE,
        "devices": DEVICES,
        "global_batch": GLOBAL_BATCH,
        "bytes": used.held + used.work,
        "held_bytes": used.held,
        "work_bytes": used.work,
        "compile_seconds": round(time.perf_counter() - before, 1),
    }


def steps(setting: str) -> dict[str, Any]:
    """Real steps at MANY classes: seconds of each but the first, and the process's peak memory."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from adaptface_jax.config.schema import BackboneConfig, Config, LossConfig, TrainConfig
    from adaptface_jax.distributed.mesh import make_mesh, place, sharding
    from adaptface_jax.losses.margin import init_statistics
    from adaptface_jax.losses.sampled import class_sampler
    from adaptface_jax.models import vit
    from adaptface_jax.models.recognizer import Recognizer
    from adaptface_jax.models.specs import backbone_spec
    from adaptface_jax.training import optim
    from adaptface_jax.training.recognition.loss import make_loss
    from adaptface_jax.training.step import begin_state, make_step

    size = 56
    config = Config(
        backbone=BackboneConfig(name="demo", image_size=size),
        loss=LossConfig(**SETTINGS[setting]),
        train=TrainConfig(batch_size=BATCH),
    )
    mesh = make_mesh(jax.devices()[:1])
    recognizer = Recognizer(backbone_spec("demo"), config, jnp.float32)
    frozen, trainable = recognizer.init(vit.random_params(recognizer.built_spec, size, 0), MANY, mesh)
    rate = optim.schedule(config.train, 100, 1000)
    optimizer = optim.optimizer(config.train, rate, loss=config.loss)
    state = begin_state(place(mesh, trainable), optimizer, init_statistics(), mesh)
    frozen, key = jax.device_put((frozen, jax.random.key(0)), sharding(mesh))
    sampler = class_sampler(config.loss, MANY, BATCH, mesh)
    rng = np.random.default_rng(0)
    step = make_step(make_loss(recognizer, mesh), optimizer, rate, mesh, sampler=sampler)
    seconds, cpu, losses = [], [], []
    for _ in range(STEPS):
        batch = {
            "image": rng.integers(0, 256, (BATCH, size, size, 3), dtype=np.uint8),
            "label": rng.integers(0, MANY, BATCH).astype(np.int32),
            "weight": np.ones(BATCH, np.float32),
        }
        batch = jax.device_put(batch, sharding(mesh, "batch"))
        before = time.perf_counter(), time.process_time()
        state, metrics = step(frozen, state, batch, key)
        losses.append(float(metrics["loss"]))
        seconds.append(time.perf_counter() - before[0])
        cpu.append(time.process_time() - before[1])
    return {
        "seconds": seconds[1:],
        "cpu_seconds": cpu[1:],
        "losses": losses,
        "rows": MANY if sampler is None else sampler.total,
        "peak_bytes": resident("VmHWM"),
    }


def child(part: str, setting: str) -> dict[str, Any]:
    """`part` of one setting in its own process."""
    command = [sys.executable, __file__, f"--part={part}", f"--setting={setting}"]
    found = subprocess.run(command, env={**os.environ, "JAX_PLATFORMS": "cpu"}, check=True, stdout=subprocess.PIPE)
    return json.loads(found.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("memory", "steps"), help="only this, of one setting, in this process")
    parser.add_argument("--setting", choices=SETTINGS, default="all")
    parser.add_argument("--rounds", type=int, default=2, help="processes of each setting for the steps [2]")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.part:
        print(json.dumps({"memory": memory, "steps": steps}[args.part](args.setting)))
        return
    from showing import show

    sizes = [child("memory", setting) for setting in ("all", "a tenth")]
    for row in sizes:
        print(
            f"{row['setting']:18} {HUGE:,} classes on {DEVICES} devices: {row['bytes'] / 1e9:.2f} GB each "
            f"({row['held_bytes'] / 1e9:.2f} held, {row['work_bytes'] / 1e9:.2f} at work)",
            flush=True,
        )
    found: dict[str, list[dict[str, Any]]] = {setting: [] for setting in SETTINGS}
    for _ in range(args.rounds):
        for setting in SETTINGS:
            found[setting].append(child("steps", setting))
    rows = {}
    for setting, runs in found.items():
        seconds, cpu = (
            statistics.median(second for run in runs for second in run[kind]) for kind in ("seconds", "cpu_seconds")
        )
        peak = max(run["peak_bytes"] for run in runs)
        rows[setting] = {
            "rows": runs[0]["rows"],
            "seconds": seconds,
            "cpu_seconds": cpu,
            "peak_bytes": peak,
            "losses": runs[0]["losses"],
            "repeats": len({tuple(run["losses"]) for run in runs}) == 1,
        }
        print(
            f"{setting:18} {MANY:,} classes: {seconds:.3f} s a step ({cpu:.3f} s of CPU), {peak / 1e9:.2f} GB",
            flush=True,
        )
    show({"memory": sizes, "steps": {"classes": MANY, "batch": BATCH, **rows}}, args.out)


if __name__ == "__main__":
    main()
