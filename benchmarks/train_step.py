# SPDX-License-Identifier: Apache-2.0
"""Images per second of one training step, here and in transformers + PEFT, in one run on one machine.

    python benchmarks/train_step.py                        both dtypes, every variant
    python benchmarks/train_step.py --quick                float32, few short rounds
    python benchmarks/train_step.py --variants lora peft   only these

The step: DINOv2 ViT-S/14 at 224 px with random weights, LoRA of rank 16 on q, k, v and the output projection, a linear
head of 512, CosFace over 10,572 classes, AdamW. Every variant runs in its own process, warmed up; they take turns in
short rounds, so that a change in the machine's speed affects all of them. Images/s is the median over rounds, a ratio
the median over rounds of the quotient within a round. On a CPU that other programs share, pin the run to one core
(`taskset -c 0`) and compare CPU seconds per image: threads that wait for each other distort the rest.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import statistics
from pathlib import Path
from typing import Any

from intel_mkl import functions_for_intel
from serving import Problem
from workers import Worker, machine, take_turns

HERE = Path(__file__).resolve().parent
OURS = ("lora", "lora48", "dalora_frozen", "dalora_frozen_cached", "dalora_block2", "dalora_shared", "frozen")
PEERS = ("peft", "peft_compiled", "frozen_torch")
REFERENCES = ("peft", "lora", "lora48", "frozen_torch")  # what the others are divided by


def measure(problems: list[Problem], rounds: int, steps: int) -> list[dict[str, Any]]:
    """A row of results per variant; the problems differ only in that."""
    scripts = [HERE / ("peer.py" if problem.variant in PEERS else "ours.py") for problem in problems]
    workers = take_turns([Worker.ready(*each) for each in zip(scripts, problems, strict=True)], rounds, steps)
    times = {worker.problem.variant: worker.seconds for worker in workers}
    return [row(worker, times) for worker in workers]


def row(worker: Worker, times: dict[str, list[float]]) -> dict[str, Any]:
    batch = worker.problem.batch_size
    ratios = {
        f"speed_over_{name}": statistics.median(
            theirs / ours for ours, theirs in zip(worker.seconds, times[name], strict=True)
        )
        for name in REFERENCES
        if name in times and name != worker.problem.variant
    }
    return {
        "variant": worker.problem.variant,
        "dtype": worker.problem.dtype,
        "images_per_second": batch / statistics.median(worker.seconds),
        "images_per_second_rounds": [round(batch / seconds, 2) for seconds in worker.seconds],
        **ratios,
        "cpu_seconds_per_image": statistics.median(worker.cpu_seconds) / batch,
        "peak_bytes": worker.peak_bytes,
        **worker.facts,
    }


def table(rows: list[dict[str, Any]]) -> str:
    names = f"{'variant':21}{'dtype':>10}{'images/s':>10}{'/ peft':>8}{'/ lora':>8}{'/ lora48':>10}{'/ torch':>9}"
    lines = [f"{names}{'CPU s/image':>13}{'peak MB':>9}{'compile s':>11}"]
    for r in rows:
        over = [f"{r[f'speed_over_{name}']:.2f}" if f"speed_over_{name}" in r else "" for name in REFERENCES]
        lines.append(
            f"{r['variant']:21}{r['dtype']:>10}{r['images_per_second']:>10.2f}{over[0]:>8}{over[1]:>8}{over[2]:>10}{over[3]:>9}"
            f"{r['cpu_seconds_per_image']:>13.3f}"
            f"{r['peak_bytes'] / 1e6:>9.0f}{r['compile_seconds']:>11.1f}"
        )
    return "\n".join(lines)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    defaults = Problem("lora")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch_size", type=int, default=defaults.batch_size)
    parser.add_argument("--rounds", type=int, help="turns of each variant (8; 3 with --quick)")
    parser.add_argument("--steps", type=int, help="steps in a turn (2 on a CPU; 20 with a GPU)")
    parser.add_argument("--dtype", nargs="+", choices=("float32", "bfloat16"), help="default: both")
    parser.add_argument("--variants", nargs="+", choices=OURS + PEERS, help="default: all; peft_compiled only on a GPU")
    parser.add_argument("--backbone", default=defaults.backbone, help="a DINOv2 row of specs.py")
    parser.add_argument("--image_size", type=int, default=defaults.image_size)
    parser.add_argument("--classes", type=int, default=defaults.classes)
    parser.add_argument("--mkl_of_intel", action="store_true", help="torch's products as on an Intel CPU, on any")
    parser.add_argument("--quick", action="store_true", help="float32, three rounds of one step")
    parser.add_argument("--out", type=Path, help="JSON file; default: printed only")
    return parser.parse_args(arguments)


def main() -> None:
    options = parse()
    gpu = Path("/proc/driver/nvidia/version").exists()
    steps = options.steps or (1 if options.quick else 20 if gpu else 2)
    rounds = options.rounds or (3 if options.quick else 8)
    dtypes = options.dtype or (["float32"] if options.quick else ["float32", "bfloat16"])
    variants = options.variants or [v for v in OURS + PEERS if gpu or v != "peft_compiled"]
    load = os.getloadavg()[0]
    rows: list[dict[str, Any]] = []
    with functions_for_intel() if options.mkl_of_intel else contextlib.nullcontext():
        for dtype in dtypes:
            problems = [
                Problem(
                    variant, options.backbone, options.image_size, classes=options.classes,
                    batch_size=options.batch_size, dtype=dtype,
                )
                for variant in variants
            ]  # fmt: skip
            rows += measure(problems, rounds, steps)
    found = machine(rows, load) | {"mkl_of_intel": options.mkl_of_intel}
    problem = {k: v for k, v in dataclasses.asdict(problems[0]).items() if k not in ("variant", "dtype")}
    place = f"{found['processor']}, {found['cores']} cores, {', '.join(found['devices'])}"
    print(f"{problem['backbone']} at {problem['image_size']} px, batch {problem['batch_size']}, {place}")
    print(table(rows))
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        rows = [{k: v for k, v in r.items() if k != "versions"} for r in rows]
        result = {"machine": found, "problem": problem, "rounds": rounds, "steps": steps, "results": rows}
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
