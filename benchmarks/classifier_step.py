"""Steps per second of the two classification studies, here and in torch, in one run on one machine.

    python benchmarks/classifier_step.py --out benchmarks/results/NAME.json

The networks of the recipes celeba_cnn (batches of 64) and tiny_imagenet_resnet (batches of 32) at 64 px, float32 on a
CPU. Every variant runs in its own process, warmed up; they take turns in short rounds. A ratio is the median over
rounds of the quotient within a round, against the faster of torch's two memory formats in it. `ours` takes uint8
images and normalizes them, `ours_augmented` also augments them as the recipe says; torch gets normalized ones for free.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
from pathlib import Path
from typing import Any

from workers import HERE, Worker, machine, take_turns

VARIANTS = {
    "ours": "classifier_ours.py",
    "ours_augmented": "classifier_ours.py",
    "torch": "classifier_peer.py",
    "torch_channels_last": "classifier_peer.py",
}


@dataclasses.dataclass(frozen=True)
class Problem:
    """A recipe's network and batch."""

    variant: str
    recipe: str
    outputs: int
    multi_label: bool


RECIPES = {"celeba_cnn": (5, True), "tiny_imagenet_resnet": (200, False)}


def measure(recipe: str, rounds: int, steps: int) -> list[dict[str, Any]]:
    """A row for each variant."""
    workers = [
        Worker.ready(HERE / script, Problem(name, recipe, *RECIPES[recipe])) for name, script in VARIANTS.items()
    ]
    times = {worker.problem.variant: worker.seconds for worker in take_turns(workers, rounds, steps)}
    best = [min(pair) for pair in zip(times["torch"], times["torch_channels_last"], strict=True)]
    return [
        {
            "recipe": recipe,
            "variant": worker.problem.variant,
            "steps_per_second": 1 / statistics.median(worker.seconds),
            "seconds_rounds": [round(seconds, 4) for seconds in worker.seconds],
            "speed_over_the_faster_torch": statistics.median(
                theirs / ours for ours, theirs in zip(worker.seconds, best, strict=True)
            ),
            "cpu_seconds_per_step": statistics.median(worker.cpu_seconds),
            "peak_bytes": worker.peak_bytes,
            **worker.facts,
        }
        for worker in workers
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=2, help="in a turn")
    parser.add_argument("--recipes", nargs="+", choices=tuple(RECIPES), default=tuple(RECIPES))
    parser.add_argument("--out", type=Path, help="JSON file; default: printed only")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    rows = [row for recipe in options.recipes for row in measure(recipe, options.rounds, options.steps)]
    print(f"{'recipe':22}{'variant':21}{'steps/s':>8}{'/ torch':>9}{'CPU s/step':>12}{'peak MB':>9}{'compile s':>11}")
    for r in rows:
        print(
            f"{r['recipe']:22}{r['variant']:21}{r['steps_per_second']:>8.3f}{r['speed_over_the_faster_torch']:>9.2f}"
            f"{r['cpu_seconds_per_step']:>12.2f}{r['peak_bytes'] / 1e6:>9.0f}{r['compile_seconds']:>11.1f}"
        )
    if options.out is not None:
        found = machine(rows, load)
        kept = [{k: v for k, v in r.items() if k != "versions"} for r in rows]
        result = {"machine": found, "rounds": options.rounds, "steps": options.steps, "results": kept}
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
