"""The cost of one adapter per image within a batch, here and with PEFT's `adapter_names`.

    python benchmarks/several_adapters.py --out benchmarks/results/several_adapters.json

DINOv2 ViT-S/14 with random weights, LoRA of rank 16 on q, k, v and the output projection, a head of 512 (here one for
each adapter; PEFT gathers none): a forward pass of 32 images that cycle through 1, 4, 16 and 32 adapters, compared with
one adapter for all. The goal is at most 1.10 of that. All take turns in one process; ratios are medians within rounds.
On a busy machine CPU seconds are more reliable than wall time.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ours import configuration, forward
from serving import Problem
from workers import machine

from adaptface_jax.distributed.mesh import make_mesh, sharding
from adaptface_jax.models.adapters import several
from adaptface_jax.models.recognizer import Recognizer, compute_dtype
from adaptface_jax.models.specs import backbone_spec
from adaptface_jax.models.vit import random_params

ONE = 0  # adapters: one for all images, without a choice
COUNTS = (ONE, 1, 4, 16, 32)


def ours(problem: Problem) -> dict[int, Callable[[], object]]:
    """Number of adapters -> a forward pass, compiled."""
    spec, mesh = backbone_spec(problem.backbone), make_mesh(jax.devices()[:1])
    config = configuration(problem)
    alone = Recognizer(spec, config, compute_dtype(problem.dtype))
    frozen, trainable = alone.init(random_params(spec, problem.image_size, config.seed), None)
    form = several.common([config])
    together, tree = dataclasses.replace(alone, config=form), several.alone(frozen, trainable, config, form, spec)
    shape = (problem.batch_size, problem.source_size, problem.source_size, 3)
    images = jax.device_put(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8), sharding(mesh, "batch"))
    frozen = jax.device_put(frozen, sharding(mesh))

    def of(count: int) -> Callable[[], object]:
        given = trainable
        if count != ONE:
            given = several.slots(tree, count)
            for place in range(count):
                given = several.put(given, place, tree)
            given |= {several.WHICH: np.arange(problem.batch_size, dtype=np.int32) % count}
        given, embed = jax.device_put(given, sharding(mesh)), forward(alone if count == ONE else together, mesh)
        return lambda: jax.block_until_ready(embed(frozen, given, images))

    return {count: of(count) for count in COUNTS}


def theirs(problem: Problem) -> tuple[dict[int, Callable[[], object]], dict[str, str]]:
    """The same in transformers + PEFT, and the versions."""
    import peft
    import torch
    from peer import Recognizer as Peer

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = Peer(problem).eval()
    names = ["default", *(f"adapter{number}" for number in range(1, max(COUNTS)))]
    for name in names[1:]:
        model.backbone.add_adapter(name, model.backbone.peft_config["default"])
    images = torch.randn((problem.batch_size, 3, problem.image_size, problem.image_size))

    def of(count: int) -> Callable[[], object]:
        chosen = {} if count == ONE else {"adapter_names": [names[i % count] for i in range(len(images))]}

        def run() -> object:
            with torch.inference_mode():
                return model.head(model.backbone(pixel_values=images, **chosen).pooler_output)

        return run

    return {count: of(count) for count in COUNTS}, {"torch": torch.__version__, "peft": peft.__version__}


def rows(side: str, passes: dict[int, Callable[[], object]], rounds: int, versions: dict[str, str]) -> list[Any]:
    """A row of results for each number of adapters."""
    times: dict[int, list[tuple[float, float]]] = {count: [] for count in passes}
    for number in range(-1, rounds):  # the first warms up
        for count in sorted(passes, reverse=number % 2 == 1):
            start = time.perf_counter(), time.process_time()
            passes[count]()
            if number >= 0:
                times[count].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return [
        {
            "side": side,
            "adapters": count,
            "seconds": statistics.median(wall for wall, _ in times[count]),
            "cpu_seconds": statistics.median(cpu for _, cpu in times[count]),
            "seconds_over_one": over(times, count, 0),
            "cpu_seconds_over_one": over(times, count, 1),
            "device": jax.devices()[0].device_kind if side == "ours" else "cpu",
            "versions": versions,
        }
        for count in passes
    ]


def over(times: dict[int, list[tuple[float, float]]], count: int, clock: int) -> float:
    return statistics.median(mine[clock] / one[clock] for mine, one in zip(times[count], times[ONE], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--without_peft", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    load, problem = os.getloadavg()[0], Problem("lora", image_size=args.image_size, batch_size=32)
    found = rows("ours", ours(problem), args.rounds, {"jax": jax.__version__})
    if not args.without_peft:
        passes, versions = theirs(problem)
        found += rows("peft", passes, args.rounds, versions)
    print(f"{'':6}{'adapters':>9}{'s':>8}{'CPU s':>8}{'/ one':>8}{'CPU / one':>11}")
    for r in found:
        print(
            f"{r['side']:6}{r['adapters'] or 'one':>9}{r['seconds']:>8.2f}{r['cpu_seconds']:>8.2f}"
            f"{r['seconds_over_one']:>8.2f}{r['cpu_seconds_over_one']:>11.2f}"
        )
    if args.out:
        result = {"machine": machine(found, load), **dataclasses.asdict(problem), "rounds": args.rounds, "rows": found}
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
