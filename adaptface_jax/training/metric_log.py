"""The loop's metrics: read from the device one row behind, so that the host never waits for the current step."""

from __future__ import annotations

import time
from collections.abc import Mapping

import jax

from adaptface_jax.core.progress import Progress
from adaptface_jax.training.monitor import Monitor


class MetricLog:
    """Takes device scalars every few steps; writes each row when the next one comes, or on `flush`."""

    def __init__(
        self, monitor: Monitor, progress: Progress, batch_size: int, step: int, share: float | None = None
    ) -> None:
        """share: one step per second as a share of the device's peak; None if it is unknown."""
        self._monitor, self._progress, self._batch_size, self._share = monitor, progress, batch_size, share
        self._pending: tuple[int, Mapping[str, jax.Array], float] | None = None
        # The last row that was read, (step, values).
        self.latest: tuple[int, dict[str, float]] = (step, {})
        self.restart(step)

    @property
    def skipped_in_a_row(self) -> int:
        """How many consecutive steps up to the last row that was read were skipped."""
        return int(self.latest[1].get("skipped_in_a_row", 0))

    def restart(self, step: int) -> None:
        """Measure speed from here: the time in between (an evaluation, the compilation) does not count."""
        self._since, self._since_step, self._waited = time.monotonic(), step, 0.0

    def waited(self, seconds: float) -> None:
        """The loop has waited this long for data."""
        self._waited += seconds

    def push(self, step: int, metrics: Mapping[str, jax.Array]) -> None:
        """Start reading `metrics` of `step`, and write the previous row."""
        for value in metrics.values():
            value.copy_to_host_async()
        self.flush()
        self._pending = (step, metrics, self._waited)
        self._waited = 0.0

    def flush(self) -> None:
        """Write the pending row: waits until its step is done, and measures speed at that moment."""
        if self._pending is None:
            return
        step, metrics, waited = self._pending
        self._pending = None
        values = {name: float(value) for name, value in jax.device_get(dict(metrics)).items()}
        self.latest = step, values
        now = time.monotonic()
        steps, seconds = step - self._since_step, max(now - self._since, 1e-9)
        shown = {"loss": f"{values['loss']:.3f}", "lr": f"{values['learning_rate']:.2e}"}
        if steps:
            values |= {"images_per_second": self._batch_size * steps / seconds, "data_wait": waited / seconds}
            shown["images/s"] = f"{values['images_per_second']:.0f}"
            if self._share is not None:
                values["device_share"] = self._share * steps / seconds
                shown["of peak"] = f"{100 * values['device_share']:.0f}%"
        values |= device_memory(jax.local_devices()[0])
        if values["skipped"]:
            shown["skipped"] = f"{values['skipped']:.0f}"
        self._since, self._since_step = now, step
        self._monitor.scalars(step, {f"train/{name}": value for name, value in values.items()})
        self._progress.show(step, shown)


def device_memory(device: jax.Device) -> dict[str, float]:
    """Current and peak memory of the device in GB; empty if its backend does not report it."""
    stats = device.memory_stats() or {}
    names = {"bytes_in_use": "device_memory", "peak_bytes_in_use": "device_memory_peak"}
    return {tag: stats[name] / 1e9 for name, tag in names.items() if name in stats}
