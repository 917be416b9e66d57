"""Compiled programs are cached for the next command: a step that took half a minute to compile starts at once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from pathlib import Path

from adaptface_jax.core.version import __version__

VARIABLE = "JAX_COMPILATION_CACHE_DIR"


def keep_compiled() -> Path | None:
    """Let jax cache compiled programs in the user's cache folder; that folder, or None if the user chose or has
    none.

    jax keys each program by its text, options, devices and the versions of jax and its compiler; programs for a CPU
    also go into a folder for that CPU, since different machines may share a home. The variable
    JAX_COMPILATION_CACHE_DIR names another folder; empty, it turns the cache off.
    """
    if VARIABLE in os.environ:
        return None
    folder = _cache() / "adaptface_jax" / __version__ / _machine()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # no home, or a read-only one: programs are compiled every time
        return None
    os.environ[VARIABLE] = str(folder)  # for jax, if imported later, and for child processes
    if "jax" in sys.modules:
        import jax

        jax.config.update("jax_compilation_cache_dir", str(folder))
    return folder


def _cache() -> Path:
    named = os.environ.get("XDG_CACHE_HOME", "")
    return Path(named) if os.path.isabs(named) else Path(os.path.expanduser("~")) / ".cache"


def _machine() -> str:
    """A hash of this processor and its features."""
    features = sys.platform
    with contextlib.suppress(OSError):
        listing = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        told = [line for line in listing if line.startswith(("model name", "flags", "Features", "CPU part"))]
        features += "\n".join(sorted(set(told)))
    return hashlib.sha256(features.encode()).hexdigest()[:12]
