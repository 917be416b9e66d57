"""Settings that are allowed but rarely intended: learning rate, schedule, scale, disk space."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path

import numpy as np

from adaptface_jax.checks.finding import Finding, fault, note, ok, warning
from adaptface_jax.config.schema import Config
from adaptface_jax.training import optim

# Peak learning rates known to train with AdamW: adapters and heads, and a full backbone.
RATES = {"adapter": (1e-6, 1e-2), "full": (1e-7, 5e-4)}


def learning_rate(config: Config) -> Finding:
    """The peak learning rate against rates that are known to train."""
    rate, kind = config.train.learning_rate, config.adapter.kind
    low, high = RATES["full" if kind == "full" else "adapter"]
    what = f"{rate:g} peak, {config.train.schedule}"
    if rate == 0:
        return fault("learning rate", "0: nothing would be trained", "set train.learning_rate, e.g. 1e-4")
    if not low <= rate <= high:
        return warning(
            "learning rate",
            f"{what}: outside {low:g} to {high:g}, where {kind} is known to train with AdamW",
            f"too {'low: the loss hardly falls' if rate < low else 'high: the loss diverges or embeddings collapse'}",
        )
    return ok("learning rate", what)


def course(config: Config, steps_per_epoch: int, total_steps: int) -> Finding:
    """The length of the run, and whether its schedule reaches the peak."""
    train = config.train
    epochs = total_steps / max(1, steps_per_epoch)
    what = f"{total_steps:,} steps of {train.batch_size} images, {epochs:.3g} epochs"
    if train.warmup_steps >= total_steps:
        return fault(
            "course",
            f"{what}, all of them within the warm-up of {train.warmup_steps:,}",
            "the peak rate is never reached: lower train.warmup_steps or train longer",
        )
    rates = np.asarray(optim.schedule(train, steps_per_epoch, total_steps)(np.linspace(0, total_steps - 1, 1000)))
    if (rates <= 1e-3 * train.learning_rate).mean() > 0.5:
        return warning(
            "course",
            f"{what}, most of them at a rate near zero",
            "the schedule falls too early: check train.decay_epochs, train.restart_epochs",
        )
    if epochs < 1:
        return note("course", f"{what}: some images are never seen")
    return ok("course", what)


def scale(config: Config, classes: int) -> Finding:
    """The smallest scale at which a softmax over this many classes can be confident.

    s >= (C - 1) / C * log((C - 1) P / (1 - P)) for a probability P = 0.9 (CosFace, arXiv 1801.09414, section 3.3).
    """
    loss = config.loss
    least = (classes - 1) / classes * math.log(9 * (classes - 1))
    what = f"{loss.name} s={loss.scale:g} m={loss.margin:g} for {classes:,} identities"
    if loss.scale < least:
        return warning(
            "scale",
            f"{what}: below {least:.1f}, the loss cannot become small",
            "raise loss.scale (64 is usual, 16 for tens of identities)",
        )
    if loss.scale > 200:
        return warning("scale", f"{what}: far above the usual 16 to 64", "gradients explode: lower loss.scale")
    return ok("scale", what)


def disk(workdir: Path | None, config: Config, state_bytes: int, steps: int, free: int | None = None) -> Finding:
    """Disk space for the checkpoints of a run of `steps` steps: `checkpoint.keep`, the best one, one being written, and
    those of `checkpoint.keep_every`. free: bytes, for tests.
    """
    each, every = 1.02 * state_bytes + 1e6, config.checkpoint.keep_every
    count = config.checkpoint.keep + 2 + (steps // every if every else 0)
    needed = count * each
    what = f"{count:,} checkpoints of {each / 1e6:.3g} MB"
    if workdir is None:
        return note("disk", f"{what}; pass --workdir to check its disk")
    parent = next(folder for folder in (workdir, *workdir.absolute().parents) if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        return fault("disk", f"{parent}: not writable", "choose another --workdir, or change its permissions")
    free = shutil.disk_usage(parent).free if free is None else free
    what += f", {free / 1e9:.3g} GB free in {parent}"
    numbers = {"needed": needed, "free": free}
    if free < needed:
        advice = "the run would fill the disk: free some space, lower checkpoint.keep" + (
            ", or raise checkpoint.keep_every" if every else ""
        )
        return fault("disk", what, advice, **numbers)
    if free < 2 * needed + 1e9:
        return warning("disk", f"{what}: tight", "logs and other programs need space too", **numbers)
    return ok("disk", what, **numbers)
