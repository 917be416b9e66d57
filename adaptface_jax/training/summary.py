# SPDX-License-Identifier: Apache-2.0
"""What every run prints about itself: its machine, its first loss and the expected one, its settings as a table."""

from __future__ import annotations

import time
from typing import Any

import jax

from adaptface_jax.core import trees
from adaptface_jax.core.text import plural, utc_minute
from adaptface_jax.core.version import __version__
from adaptface_jax.training.plan import Plan


def machine_line() -> str:
    """Versions and devices."""
    devices = jax.devices()
    return f"adaptface_jax {__version__}, jax {jax.__version__}, {len(devices)} x {devices[0].device_kind}"


def steps_line(plan: Plan) -> str:
    """How long the run is."""
    size = plan.config.train.batch_size
    return (
        f"training  {plural(plan.total_steps, 'step')} of {plural(size, 'image')}, {plan.steps_per_epoch:,} per epoch"
    )


def expected_line(expected: tuple[float, float]) -> str:
    """The expected first loss, (mean, std), before there is one."""
    return f"loss      the first should be {expected[0]:.2f} +- {expected[1]:.2f}"


def utc_now() -> str:
    """The current minute, for reports."""
    return utc_minute(time.time())


def first_loss_line(loss: float, expected: tuple[float, float]) -> str:
    """The first loss and the expected one, (mean, std)."""
    mean, std = expected
    line = f"first loss {loss:.3f}, expected {mean:.2f} +- {std:.2f}"
    far = abs(loss - mean) > 3 * std
    return line + ("  <- more than 3 standard deviations away: check labels and preprocessing" if far else "")


def as_markdown(record: dict[str, Any]) -> str:
    """A record of values, possibly nested, as a table for TensorBoard."""
    rows = [f"| {name} | {value} |" for name, value in trees.flatten(record, ".").items()]
    return "\n".join(["| setting | value |", "| --- | --- |", *rows])
