# SPDX-License-Identifier: Apache-2.0
"""Every training step on one accelerator in under ten minutes, against torch + PEFT compiled with flash attention.

    python benchmarks/gpu.py --out benchmarks/results/NAME.json          all groups, as far as --deadline allows
    python benchmarks/gpu.py --groups s224 b224 --deadline 300           only these

It needs jax, flax, optax, orbax, torch, transformers and peft, and the package as a checkout. Groups are variants of
one backbone, image size and batch, the most informative first. The variants of a wave of groups compile side by side in
their own processes; when all are warm, the matmul peak is measured, and within a group the variants take turns:
a ratio is the median over rounds of the quotient within a round. `share` is the matrix products of a step
(`training/arithmetic.py`) over what the measured peak would do in its time; torch is given the same count. The file is
written after every group; what did not fit the deadline, or the memory, is named in it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import select
import statistics
import threading
import time
from pathlib import Path
from typing import Any

from matmul_peak import Squares
from serving import Problem
from train_step import PEERS
from workers import HERE, Worker, machine

REFERENCES = ("lora", "peft", "peft_compiled")  # what the others are divided by
STEPS = ("lora", "peft_compiled", "dalora_block2", "dalora_frozen")


@dataclasses.dataclass(frozen=True)
class Group:
    """Variants of one size; the first is what the others are compared with."""

    backbone: str
    image_size: int
    batch_size: int
    variants: tuple[str, ...] = STEPS


PAIR = ("lora", "peft_compiled")
# The groups of a wave compile side by side and fit a memory of 80 GB together. Two variants do not disturb each other's
# choice of kernels much: on Hopper GPUs only cuBLAS' are timed (`distributed/compiler.py`).
WAVES: tuple[dict[str, Group], ...] = (
    {
        "s224": Group("dinov2_vits14", 224, 256),
        "s224_128": Group("dinov2_vits14", 224, 128, PAIR),
        "s224_forward": Group("dinov2_vits14", 224, 256, ("frozen",)),
    },
    {"b224": Group("dinov2_vitb14", 224, 256), "s112": Group("dinov2_vits14", 112, 256)},
    {"b112": Group("dinov2_vitb14", 112, 256), "s224_512": Group("dinov2_vits14", 224, 512, PAIR)},
    {"s224_1024": Group("dinov2_vits14", 224, 1024, PAIR)},
    {"b224_512": Group("dinov2_vitb14", 224, 512, PAIR)},
)


class Deadline:
    """Ends the busy worker when time is up, and starts no other.

    reserve: seconds of them that are kept for rounds while workers compile.
    """

    def __init__(self, seconds: float, reserve: float = 0) -> None:
        self._end, self._reserve = time.monotonic() + seconds, reserve

    def left(self) -> float:
        return self._end - time.monotonic()

    def start(self, script: str, problem: Any) -> Worker | None:
        """A worker that compiles; None if the time is up."""
        return Worker(HERE / script, problem) if self.left() > 0 else None

    def warm(self, worker: Worker | None) -> str:
        """Waits until it has; the reason if it has not."""
        if worker is None:
            return "not started: the deadline"
        output = worker.process.stdout
        if not select.select([output], [], [], max(self.left() - self._reserve, 0))[0]:
            worker.process.kill()
        return "" if self._within(worker, worker.warm) else self._reason(worker)

    def run(self, worker: Worker, steps: int) -> bool:
        """Whether the worker completed its steps."""
        return self.left() > 0 and self._within(worker, lambda: worker.run(steps))

    def _within(self, worker: Worker, work: Any) -> bool:
        timer = threading.Timer(max(self.left(), 0), worker.process.kill)
        timer.start()
        try:
            work()
        except (SystemExit, BrokenPipeError):
            return False
        finally:
            timer.cancel()
        return True

    def _reason(self, worker: Worker) -> str:
        worker.close()
        status = worker.process.returncode
        return "cut off: the deadline" if self.left() <= self._reserve else f"ended with status {status} (memory?)"


def start(group: Group, options: argparse.Namespace, deadline: Deadline) -> dict[str, Worker | None]:
    """A worker per variant, which compiles; None where the time is up."""
    return {
        variant: deadline.start(
            "peer.py" if variant in PEERS else "ours.py",
            Problem(
                variant, group.backbone, group.image_size, classes=options.classes, dtype=options.dtype,
                batch_size=min(group.batch_size, options.largest_batch),
            ),
        )
        for variant in group.variants
    }  # fmt: skip


def measure(
    group: Group, started: dict[str, Worker | None], missing: dict[str, str], options: argparse.Namespace,
    deadline: Deadline, peak: float,
) -> list[dict[str, Any]]:  # fmt: skip
    """A row per variant; one that could not be measured gives the reason, as those in `missing` do."""
    missing = dict(missing)
    workers = {variant: worker for variant, worker in started.items() if worker is not None and not missing[variant]}
    steps = {variant: turn(worker, options, deadline) for variant, worker in workers.items()}
    for number in range(options.rounds):
        for variant in list(workers) if number % 2 == 0 else list(reversed(workers)):
            if variant in workers and not deadline.run(workers[variant], steps[variant]):
                missing[variant] = "cut off in its rounds"
                if not workers[variant].seconds:
                    del workers[variant]
    for worker in workers.values():
        worker.close()
    needed = {v: w.facts["flops"] for v, w in workers.items() if "flops" in w.facts}
    return [row(group, variant, workers, missing[variant], needed, peak) for variant in group.variants]


def turn(worker: Worker, options: argparse.Namespace, deadline: Deadline) -> int:
    """The steps of a turn: half a second of them, at least five and at most --steps; after two that are not counted."""
    deadline.run(worker, 2)
    seconds = worker.seconds.pop() if worker.seconds else 1.0
    return min(options.steps, max(5, round(0.5 / seconds)))


def matmul_peak(worker: Worker | None, deadline: Deadline) -> float:
    """Operations a second."""
    why = deadline.warm(worker)
    if worker is None or why or not deadline.run(worker, 5):
        raise SystemExit(f"the matmul peak could not be measured: {why or 'the deadline'}")
    worker.close()
    return worker.facts["flops"] / min(worker.seconds)


def row(
    group: Group, variant: str, workers: dict[str, Worker], missing: str, needed: dict[str, float], peak: float
) -> dict[str, Any]:
    head = {"backbone": group.backbone, "image_size": group.image_size, "batch_size": group.batch_size}
    worker = workers.get(variant)
    if worker is None:
        return {**head, "variant": variant, "missing": missing}
    batch = worker.problem.batch_size
    seconds = statistics.median(worker.seconds)
    arithmetic = needed.get(variant, needed.get("lora"))
    found = {
        **head,
        "batch_size": batch,
        "variant": variant,
        "images_per_second": batch / seconds,
        "images_per_second_rounds": [round(batch / each, 2) for each in worker.seconds],
        "share_of_peak": arithmetic / seconds / peak if arithmetic else None,
        "peak_bytes": worker.peak_bytes,
        **({"cut": missing} if missing else {}),
        **worker.facts,
    }
    for name in REFERENCES:
        if name in workers and name != variant:
            rounds = zip(worker.seconds, workers[name].seconds, strict=False)
            found[f"speed_over_{name}"] = statistics.median(theirs / ours for ours, theirs in rounds)
    return found


def line(found: dict[str, Any]) -> str:
    head = f"{found['backbone']:15}{found['image_size']:>5}{found['batch_size']:>6}  {found['variant']:15}"
    if "missing" in found:
        return f"{head}  {found['missing']}"
    share = found["share_of_peak"]
    ratios = [f"{found[key]:.2f}" if (key := f"speed_over_{name}") in found else "" for name in REFERENCES]
    cells = [f"{found['images_per_second']:.1f}", "" if share is None else f"{100 * share:.1f}%", *ratios]
    cells += [f"{found['peak_bytes'] / 1e9:.2f}", f"{found['compile_seconds']:.1f}"]
    return f"{head}{''.join(f'{cell:>10}' for cell in cells)}  {found.get('attention', 'sdpa')}"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [name for wave in WAVES for name in wave]
    parser.add_argument("--groups", nargs="+", choices=names, default=names, metavar="GROUP", help=", ".join(names))
    parser.add_argument("--variants", nargs="+", choices=(*STEPS, "peft", "frozen"), help="default: those of the group")
    parser.add_argument("--backbone", help="a row of specs.py in place of the groups' own, for a trial")
    parser.add_argument("--image_size", type=int, help="in place of the groups' own, for a trial")
    parser.add_argument("--largest_batch", type=int, default=1024, help="no batch is larger")
    parser.add_argument("--classes", type=int, default=Problem("lora").classes)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each variant")
    parser.add_argument("--steps", type=int, default=20, help="steps in a turn, at most")
    parser.add_argument("--peak_size", type=int, default=Squares.size, help="of the matrices of the matmul peak")
    parser.add_argument("--deadline", type=float, default=570, help="seconds for everything")
    parser.add_argument("--reserve", type=float, default=40, help="of them, kept for the rounds of what is compiled")
    parser.add_argument("--out", type=Path, help="JSON file; default: printed only")
    return parser.parse_args()


def main() -> None:
    options = parse()
    deadline, load = Deadline(options.deadline, options.reserve), os.getloadavg()[0]
    squares, peak = deadline.start("matmul_peak.py", Squares(size=options.peak_size)), None
    rows: list[dict[str, Any]] = []
    for wave in WAVES:
        groups = chosen(wave, options)
        started = {name: start(group, options, deadline) for name, group in groups.items()}
        missing = {
            name: {variant: deadline.warm(worker) for variant, worker in workers.items()}
            for name, workers in started.items()
        }
        if groups and peak is None:
            peak = matmul_peak(squares, deadline)
            heading(squares, peak, options)
        for name, group in groups.items():
            found = measure(group, started[name], missing[name], options, deadline, peak)
            print("\n".join(map(line, found)), flush=True)
            rows += found
            if options.out is not None:
                write(rows, squares, load, peak, options)


def chosen(wave: dict[str, Group], options: argparse.Namespace) -> dict[str, Group]:
    changes = {key: value for key in ("backbone", "image_size") if (value := getattr(options, key))}
    if options.variants:
        changes["variants"] = tuple(options.variants)
    return {name: dataclasses.replace(group, **changes) for name, group in wave.items() if name in options.groups}


def write(rows: list[dict[str, Any]], squares: Worker, load: float, peak: float, options: argparse.Namespace) -> None:
    known = machine([squares.facts, *(each for each in rows if "versions" in each)], load)
    bare = [{key: value for key, value in each.items() if key != "versions"} for each in rows]
    result = {"machine": known, "matmul_peak": peak, "settings": vars(options), "results": bare}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2, default=str) + "\n")


def heading(squares: Worker, peak: float, options: argparse.Namespace) -> None:
    print(f"{squares.facts['device']}: {peak / 1e12:.3f} TFLOP/s in bfloat16 products of {options.peak_size}")
    columns = ("images/s", "share", "/ lora", "/ peft", "/ compiled", "GB", "compile s")
    print(
        f"{'backbone':15}{'px':>5}{'batch':>6}  {'variant':15}{''.join(f'{name:>10}' for name in columns)}  attention"
    )


if __name__ == "__main__":
    main()
