"""What the compiler made is kept for the next command: a step that took half a minute to compile starts at once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from pathlib import Path

from adaptface_jax.core.version import __version__

VARIABLE = "JAX_COMPILATION_CACHE_DIR"


def keep_compiled() -> Path | None:
    """Let jax keep compiled programs in the user's cache; the folder, or None where a user chose or has none.

    jax names each program by its text, its options, the versions of jax and its compiler and the devices; programs for
    a CPU also lie in a folder of that CPU, since a home may be shared by unlike machines. The variable
    JAX_COMPILATION_CACHE_DIR names another folder; empty, it keeps nothing.
    """
    if VARIABLE in os.environ:
        return None
    folder = _cache() / "adaptface_jax" / __version__ / _machine()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # a machine without a home, or with one that is read-only: compiled anew each time, as ever
        return None
    os.environ[VARIABLE] = str(folder)  # for jax, if it comes later, and for processes that are started
    if "jax" in sys.modules:
        import jax

        jax.config.update("jax_compilation_cache_dir", str(folder))
    return folder


def _cache() -> Path:
    named = os.environ.get("XDG_CACHE_HOME", "")
    return Path(named) if os.path.isabs(named) else Path(os.path.expanduser("~")) / ".cache"


def _machine() -> str:
    """A word for this processor and what it can."""
    features = sys.platform
    with contextlib.suppress(OSError):
        listing = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        told = [line for line in listing if line.startswith(("model name", "flags", "Features", "CPU part"))]
        features += "\n".join(sorted(set(told)))
    return hashlib.sha256(features.encode()).hexdigest()[:12]
