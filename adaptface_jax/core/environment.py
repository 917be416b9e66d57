# SPDX-License-Identifier: Apache-2.0
"""What a run runs on: versions, system, processor, devices."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import jax

from adaptface_jax.core import processors
from adaptface_jax.core.version import __version__

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def environment() -> dict[str, str]:
    """Name -> value, in reading order; neither user nor host names."""
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
    """Of this package and its numerical dependencies."""
    return {"adaptface_jax": __version__, **{package: metadata.version(package) for package in PACKAGES}}


def provenance(command: str) -> dict[str, str]:
    """How a run was started: the command, and the commit of the package's files if there is one."""
    found = {"command": shlex.join(["adaptface", command, *sys.argv[1:]])}
    return found | ({"commit": known} if (known := commit()) else {})


def commit() -> str:
    """The git commit of this package, and whether its files differ from it; "" outside a checkout."""
    here = Path(__file__).resolve().parents[1]

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(here), *words], capture_output=True, text=True, timeout=5, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    # A package installed inside another project's checkout is not part of that.
    if git("ls-files", "--error-unmatch", "__init__.py") is None or not (found := git("rev-parse", "HEAD")):
        return ""
    return found + (", with changes" if git("status", "--porcelain", "--untracked-files=no", ".") else "")


def processor() -> str:
    """The model if the system reports it, else the architecture."""
    return processors.first("model name") or platform.processor() or platform.machine()
