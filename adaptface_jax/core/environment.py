"""On what a run runs: versions, system, processor, devices."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import jax

from adaptface_jax.core.version import __version__

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def environment() -> dict[str, str]:
    """Name -> value, in the order in which people read them; neither user nor host names."""
    devices = jax.devices()
    return {
        **versions(),
        "python": platform.python_version(),
        "system": platform.platform(aliased=True, terse=True),
        "processor": f"{processor()}, {os.cpu_count()} cores",
        "devices": f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})",
        "processes": str(jax.process_count()),
    }


def versions() -> dict[str, str]:
    """Of this package and of those that it computes with."""
    return {"adaptface_jax": __version__, **{package: metadata.version(package) for package in PACKAGES}}


def processor() -> str:
    """The model where the system tells it, else the architecture."""
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, model = line.partition(":")
            if name.strip() == "model name":
                return model.strip()
    return platform.processor() or platform.machine()
