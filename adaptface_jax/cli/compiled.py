# SPDX-License-Identifier: Apache-2.0
"""Compiled programs are cached for the next command: a step that took half a minute to compile starts at once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from pathlib import Path

from adaptface_jax.core import processors
from adaptface_jax.core.version import __version__

VARIABLE = "JAX_COMPILATION_CACHE_DIR"
MOST = 4 * 10**9  # bytes of all versions and processors together


def keep_compiled() -> Path | None:
    """Let jax cache compiled programs in the user's cache folder; that folder, or None if the user chose or has
    none.

    jax keys each program by its text, options, devices and the versions of jax and its compiler; programs for a CPU
    also go into a folder for that CPU, since different machines may share a home. The variable
    JAX_COMPILATION_CACHE_DIR names another folder; empty, it turns the cache off. Beyond MOST bytes, what was not used
    for longest is deleted.
    """
    if VARIABLE in os.environ:
        return None
    folder = _cache() / "adaptface_jax" / __version__ / _machine()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # no home, or a read-only one: programs are compiled every time
        return None
    _delete_oldest(_cache() / "adaptface_jax", MOST)
    os.environ[VARIABLE] = str(folder)  # for jax, if imported later, and for child processes
    if "jax" in sys.modules:
        import jax

        jax.config.update("jax_compilation_cache_dir", str(folder))
    return folder


def _delete_oldest(root: Path, most: int) -> None:
    """Keep at most this many bytes of programs, those used last.

    jax's own limit (`jax_compilation_cache_max_size`, 0.10) is for one folder, locks it for every read, which a
    read-only one does not allow, and stops caching for good at an entry without a time of access: one written before
    there was a limit, or by a process that was killed meanwhile.
    """
    found = []
    for path in root.glob("*/*/*-cache"):
        with contextlib.suppress(OSError):
            facts = path.stat()
            found.append((max(facts.st_atime, facts.st_mtime), facts.st_size, path))
    excess = sum(size for _, size, _ in found) - most
    for _, size, path in sorted(found):
        if excess <= 0:
            return
        with contextlib.suppress(OSError):  # another process was faster, or it is not ours to delete
            path.unlink()
            excess -= size


def _cache() -> Path:
    named = os.environ.get("XDG_CACHE_HOME", "")
    return Path(named) if os.path.isabs(named) else Path(os.path.expanduser("~")) / ".cache"


def _machine() -> str:
    """A hash of this processor and its features."""
    told = {line for line in processors.told() if line.startswith(("model name", "flags", "Features", "CPU part"))}
    return hashlib.sha256((sys.platform + "\n".join(sorted(told))).encode()).hexdigest()[:12]
