# SPDX-License-Identifier: Apache-2.0
"""The training step itself: compiled, compared with the device's memory, run on real batches and timed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from adaptface_jax.checks.finding import Finding, fault, note, ok, warning
from adaptface_jax.core import trees
from adaptface_jax.core.text import byte_size
from adaptface_jax.distributed.mesh import sharding
from adaptface_jax.training import optim
from adaptface_jax.training.plan import placed_batches
from adaptface_jax.training.recognition.plan import RecognitionPlan
from adaptface_jax.training.step import Batch, TrainState, begin_state, make_step

# Three steps: B of every adapter starts at zero and a warm-up at rate zero, so a router may have no gradient
# before the third. More only if they are fast.
STEPS, MORE_STEPS, SECONDS = 3, 8, 5.0


@dataclasses.dataclass(frozen=True)
class Compiled:
    """The step, ready to run, and its memory on each device: bytes of `frozen`, `state` and everything else."""

    function: Any
    state: TrainState
    key: jax.Array
    frozen_bytes: int
    state_bytes: int
    work_bytes: int

    @property
    def total_bytes(self) -> int:
        return self.frozen_bytes + self.state_bytes + self.work_bytes


def compile_step(plan: RecognitionPlan, batch: Batch) -> Compiled:
    """The run's own step for batches like `batch`."""
    config, mesh, model = plan.config, plan.mesh, plan.model
    rate = optim.schedule(config.train, plan.steps_per_epoch, plan.total_steps)
    optimizer = optim.optimizer(config.train, rate, loss=plan.centers)
    # The step donates its state: the plan's own arrays must outlive it.
    trainable = jax.tree.map(lambda leaf: leaf.copy(), plan.trainable)
    state = begin_state(trainable, optimizer, plan.statistics, mesh)
    key = jax.device_put(jax.random.key(config.seed), sharding(mesh))
    compiled = (
        make_step(plan.loss, optimizer, rate, mesh, config.train.grad_accum, plan.compiler_options, plan.sampler)
        .lower(model.frozen, state, batch, key)
        .compile()
    )
    used = compiled.memory_analysis()
    frozen_bytes, state_bytes = trees.device_bytes(model.frozen), trees.device_bytes((state.trainable, state.opt_state))
    work = 0
    if used is not None:
        all_ = used.argument_size_in_bytes + used.output_size_in_bytes - used.alias_size_in_bytes
        work = max(0, all_ + used.temp_size_in_bytes - frozen_bytes - state_bytes)
    return Compiled(compiled, state, key, frozen_bytes, state_bytes, work)


def memory(compiled: Compiled, limit: int | None, devices: int) -> Finding:
    """The memory of the step against `limit`, the bytes that all devices may use together (None: unknown)."""
    total = devices * compiled.total_bytes
    parts = (
        f"{byte_size(compiled.frozen_bytes)} frozen, {byte_size(compiled.state_bytes)} trained and optimizer state, "
        f"{byte_size(compiled.work_bytes)} activations" + (f", on each of {devices} devices" if devices > 1 else "")
    )
    what = f"a step takes {byte_size(total)} ({parts})"
    numbers: dict[str, Any] = {"bytes": total, "limit": limit}
    if limit is None:
        return note("memory", f"{what}; the device does not report its memory", **numbers)
    advice = "halve the activations: train.grad_accum=2, train.remat=true, or a smaller train.batch_size"
    if compiled.frozen_bytes > compiled.work_bytes:
        advice = "make the frozen blocks smaller: backbone.quantize=int8, or train.fsdp over several devices"
    if total > limit:
        return fault("memory", f"{what}, only {byte_size(limit)} available", advice, **numbers)
    if total > 0.85 * limit:
        return warning("memory", f"{what} of {byte_size(limit)}: tight", advice, **numbers)
    return ok("memory", f"{what} of {byte_size(limit)}", **numbers)


def available_memory(devices: Sequence[jax.Device]) -> int | None:
    """Bytes that the devices may use together; on a CPU what the machine and its limits leave available."""
    stats = [device.memory_stats() for device in devices]
    if all(entry and "bytes_limit" in entry for entry in stats):
        return sum(int(entry["bytes_limit"]) for entry in stats if entry)
    return _host_memory() if devices[0].platform == "cpu" else None


def _host_memory() -> int | None:
    free: list[int] = []
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            free.append(1024 * int(line.split()[1]))
    limit, used = _lines("/sys/fs/cgroup/memory.max"), _lines("/sys/fs/cgroup/memory.current")
    if limit and used and limit[0].isdecimal():
        free.append(int(limit[0]) - int(used[0]))
    return min(free, default=None)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except OSError:
        return []


@dataclasses.dataclass(frozen=True)
class Rehearsed:
    """A dict of the metrics of each step, and images per second of the steps after the first."""

    metrics: tuple[dict[str, float], ...]
    images_per_second: float


def run(plan: RecognitionPlan, compiled: Compiled, first: Batch, rest: Iterator[Batch]) -> Rehearsed:
    """A few steps on the batches that the run would see; raises InputError for a record that cannot be read."""
    state = compiled.state
    metrics: list[dict[str, float]] = []
    seconds: list[float] = []
    began, batch = time.monotonic(), first
    while len(metrics) < STEPS or (len(metrics) < MORE_STEPS and time.monotonic() - began < SECONDS):
        if metrics:
            batch = jax.block_until_ready(next(rest))
        start = time.monotonic()
        state, found = compiled.function(plan.model.frozen, state, batch, compiled.key)
        values = jax.device_get(found)
        seconds.append(time.monotonic() - start)
        metrics.append({name: float(value) for name, value in values.items()})
    return Rehearsed(tuple(metrics), plan.config.train.batch_size / float(np.median(seconds[1:])))


def first_loss(rehearsed: Rehearsed, expected: tuple[float, float]) -> Finding:
    """The first loss against the one of an untrained model."""
    loss, (mean, std) = rehearsed.metrics[0]["loss"], expected
    what = f"first loss {loss:.3f}, expected {mean:.2f} +- {std:.2f}"
    numbers = {"loss": loss, "mean": mean, "std": std}
    if not np.isfinite([entry["loss"] for entry in rehearsed.metrics]).all():
        shown = ", ".join(f"{entry['loss']:.3g}" for entry in rehearsed.metrics)
        return fault(
            "loss",
            f"losses of the first steps: {shown}",
            "not finite: weights or images contain NaN, or the learning rate is far too high",
            **numbers,
        )
    if abs(loss - mean) > 4 * std:
        return warning("loss", what, "check labels, preprocessing and loss.scale", **numbers)
    return ok("loss", what, **numbers)


def gradients(rehearsed: Rehearsed) -> Finding:
    """Whether every trained part has a finite gradient that is nonzero at some step."""
    norms = {
        name.removeprefix("grad_norm/"): [entry[name] for entry in rehearsed.metrics]
        for name in rehearsed.metrics[0]
        if name.startswith("grad_norm/")
    }
    bad = [part for part, values in norms.items() if not np.isfinite(values).all()]
    dead = [part for part, values in norms.items() if max(values) == 0]
    if bad or dead:
        what = "; ".join(
            f"{', '.join(parts)}: {problem}" for parts, problem in ((bad, "not finite"), (dead, "always zero")) if parts
        )
        return fault("gradients", what, "this part would not learn: blank images, broken weights or a detached graph")
    shown = ", ".join(f"{part} {max(values):.2g}" for part, values in norms.items())
    return ok("gradients", f"finite and nonzero: {shown}", **{part: max(values) for part, values in norms.items()})


def speed(decoded: float | None, trained: float) -> Finding:
    """Images per second of the data pipeline against those of the step."""
    if decoded is None:
        return note("speed", f"step {rate(trained)}; too few batches to time the data")
    what = f"data {rate(decoded)}, step {rate(trained)}"
    numbers = {"data": decoded, "step": trained}
    if decoded < 0.8 * trained:
        return warning(
            "speed",
            f"{what}: the device would wait {100 * (1 - decoded / trained):.0f}% of the time",
            "raise data.threads, use a faster disk, or store images as 112 px crops",
            **numbers,
        )
    return ok("speed", f"{what}: {'compute' if decoded > trained else 'data'} is the bottleneck", **numbers)


def decode_rate(plan: RecognitionPlan, seconds: float = 3.0) -> float | None:
    """Images per second that the run's own pipeline and threads deliver, device idle, files cached; None if too few."""
    data = placed_batches(plan, 0)
    next(data)
    count, start = 0, time.monotonic()
    while count < 200 and time.monotonic() - start < seconds:
        next(data)
        count += 1
    return count * plan.config.train.batch_size / (time.monotonic() - start) if count > 1 else None


def rate(images_per_second: float) -> str:
    """ "3,210 images/s"."""
    return f"{images_per_second:,.0f} images/s" if images_per_second >= 10 else f"{images_per_second:.2g} images/s"
