# SPDX-License-Identifier: Apache-2.0
"""What `adaptface lr_finder` does."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import jax

from adaptface_jax.cli.table import text_table
from adaptface_jax.config.overrides import LARGEST_FLOAT
from adaptface_jax.config.schema import Config
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import disk_may_fill, locked, whole_file, write_text
from adaptface_jax.core.json_io import to_json
from adaptface_jax.core.outputs import check_inside
from adaptface_jax.core.progress import Progress
from adaptface_jax.core.text import shown
from adaptface_jax.distributed.mesh import sharding
from adaptface_jax.evaluation.plots import sweep_figure
from adaptface_jax.training.classification.plan import prepare as prepare_classification
from adaptface_jax.training.lr_sweep import LEAST_STEPS, MOST_STEPS, Sweep, Sweeper
from adaptface_jax.training.monitor import Monitor
from adaptface_jax.training.plan import Plan, placed_batches
from adaptface_jax.training.recognition.plan import prepare as prepare_recognition
from adaptface_jax.training.run import RUN_FILE

JSON, PICTURE = "lr_finder.json", "lr_finder.png"
ALIKE = 0.01  # lowest losses that differ by less than this fraction are equal


def work(args: argparse.Namespace) -> None:
    """Check, sweep with each weight decay, write, and print the rate to use."""
    out = Path(args.out)
    low, high, steps = getattr(args, "from"), args.to, args.steps
    check(out, low, high, steps)
    check_inside(out, (JSON, PICTURE))
    config = args.config
    decays = weight_decays(args.weight_decay) if args.weight_decay else [config.train.weight_decay]
    plan = prepare_recognition(config) if isinstance(config, Config) else prepare_classification(config)
    with disk_may_fill(out), locked(out, f"--out: another process is writing to {shown(str(out))}; wait"):
        sweeps = [*sweeps_of(plan, low, high, steps, decays)]
        write(out, sweeps)
    print(text_table(*rows(ranked(sweeps))))
    print(advice(ranked(sweeps)))
    print(f"written: {out}/{JSON}, {PICTURE}; see also: tensorboard --logdir {out}")


def check(out: Path, low: float, high: float, steps: int) -> None:
    """Raise InputError if there is nothing to sweep, or a run that must not change."""
    if not (0 < low < high <= LARGEST_FLOAT):
        raise InputError(
            f"--from, --to: {low:g} to {high:g} is not a range; expected 0 < from < to <= {LARGEST_FLOAT:g}"
        )
    if not LEAST_STEPS <= steps <= MOST_STEPS:
        kind = "too few to show a descent" if steps < LEAST_STEPS else "more than a sweep needs"
        raise InputError(f"--steps: {steps:,} are {kind}; expected {LEAST_STEPS} to {MOST_STEPS:,}")
    if (out / RUN_FILE).exists():
        raise InputError(f"--out: {shown(str(out))} holds a run, which must not change; choose another folder")


def weight_decays(text: str) -> list[float]:
    """The numbers of `0,1e-5`; raises InputError for anything else, below 0 or given twice."""
    try:
        found = [float(word) for word in text.split(",")]
        if all(0 <= value <= LARGEST_FLOAT for value in found) and len(set(found)) == len(found):
            return found
    except ValueError:
        pass
    raise InputError(f"--weight_decay: {text!r} is not a list of distinct numbers from 0 up, like 0,1e-5,1e-4")


def sweeps_of(plan: Plan, low: float, high: float, steps: int, decays: list[float]) -> list[Sweep]:
    """One sweep for each weight decay, each from the same values over the same batches."""
    sweeper = Sweeper(
        plan.config.train,
        plan.loss,
        plan.mesh,
        plan.frozen,
        plan.trainable,
        plan.statistics,
        low,
        high,
        steps,
        plan.compiler_options,
        plan.centers,
        plan.sampler,
    )
    key = jax.jit(lambda: jax.random.key(plan.config.seed), out_shardings=sharding(plan.mesh))()
    found = []
    for decay in decays:
        with Progress(steps, label=f"weight decay {decay:g}") as progress:
            found.append(
                sweeper.sweep(
                    decay,
                    placed_batches(plan, 0),
                    key,
                    lambda done, loss, bar=progress: bar.show(done, {"loss": f"{loss:.3f}"}),  # type: ignore[misc]
                )
            )
    return found


def ranked(sweeps: list[Sweep]) -> list[Sweep]:
    """The lowest smoothed loss first, those without a suggestion last."""
    return sorted(sweeps, key=lambda s: (s.suggestion is None, math.inf if s.lowest is None else s.lowest))


def rows(sweeps: list[Sweep]) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of the printed table."""
    titles = ["weight decay", "suggestion", "loss there", "a tenth of the minimum's", "lowest smoothed loss", "ended"]
    return titles, [
        [
            f"{sweep.weight_decay:g}",
            "none" if sweep.suggestion is None else f"{sweep.suggestion:.2e}",
            "" if sweep.suggestion is None else f"{sweep.loss_at(sweep.suggestion):.4f}",
            "" if sweep.tenth is None else f"{sweep.tenth:.2e}",
            "" if sweep.lowest is None else f"{sweep.lowest:.4f}",
            sweep.ended,
        ]
        for sweep in sweeps
    ]


def advice(sweeps: list[Sweep]) -> str:
    """The settings to use, or why there are none. sweeps: ranked."""
    best = sweeps[0]
    if best.suggestion is None or best.lowest is None:
        return "no suggestion: the loss does not fall beyond its noise; widen --from and --to, or add --steps"
    words = f"--config.train.learning_rate={best.suggestion:.2e}"
    if len(sweeps) == 1:
        return words
    if all(sweep.lowest is not None and best.lowest > (1 - ALIKE) * sweep.lowest for sweep in sweeps[1:]):
        return f"{words}\nthe weight decays differ by less than {ALIKE:.0%}: so few steps cannot distinguish them"
    return f"{words} --config.train.weight_decay={best.weight_decay:g}"


def write(out: Path, sweeps: list[Sweep]) -> None:
    """The results as JSON, as a plot and for TensorBoard, where each weight decay is a separate run."""
    figure = sweep_figure(sweeps)
    for sweep in sweeps:
        with Monitor(out / f"weight_decay={sweep.weight_decay:g}") as monitor:
            for step, values in enumerate(zip(sweep.rates, sweep.losses, sweep.smoothed, strict=True), 1):
                names = ("lr_finder/learning_rate", "lr_finder/loss", "lr_finder/smoothed_loss")
                monitor.scalars(step, dict(zip(names, values, strict=True)))
    with Monitor(out) as monitor:
        monitor.figure(0, "lr_finder", figure)
    with whole_file(out / PICTURE) as file:
        figure.savefig(file, format="png", dpi=144)
    write_text(out / JSON, to_json({"sweeps": sweeps}, indent=2) + "\n")
