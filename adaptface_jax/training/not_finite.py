"""Diagnostics of a run whose loss or gradients stay non-finite: what is known, and the batches to inspect."""

from __future__ import annotations

from pathlib import Path

from adaptface_jax.config.overrides import AnyConfig
from adaptface_jax.core.errors import RunError
from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import to_json
from adaptface_jax.data.pipeline import record_keys
from adaptface_jax.data.record import Source
from adaptface_jax.training.metric_log import MetricLog

NAME = "not_finite.json"


def not_finite(workdir: Path, log: MetricLog, source: Source, config: AnyConfig) -> RunError:
    """Writes `workdir`/not_finite.json (steps, metrics, the keys of their records); returns the error to end with."""
    last, values = log.latest
    first = last - log.skipped_in_a_row + 1
    size = config.train.batch_size
    known = {
        "first_step": first,
        "last_step": last,
        "metrics": {name: repr(value) for name, value in values.items()},  # JSON has no NaN
        "records": {step: record_keys(source, size, config.seed, step) for step in range(first, last + 1)},
    }
    path = workdir / NAME
    write_text(path, to_json(known, indent=2) + "\n")
    norms = {name.removeprefix("grad_norm/"): value for name, value in values.items() if name.startswith("grad_norm/")}
    return RunError(
        f"train: the loss or the gradients of steps {first:,} to {last:,} were not finite (loss {values['loss']:.4g}, "
        f"learning rate {values['learning_rate']:.3g}, gradient norms "
        f"{', '.join(f'{part} {norm:.3g}' for part, norm in norms.items())}); the last valid parameters are saved and "
        f"{path} names the records; lower train.learning_rate, set train.clip_norm, or inspect those records"
    )
