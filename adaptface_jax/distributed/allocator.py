"""Memory of a computation on the CPU: kept between steps instead of asked for anew.

A step on the CPU allocates gigabytes, and glibc returns them to the system when they are freed: at the next step the
kernel hands them out again, page by page and zeroed. That was a quarter of the processor time of a ViT-S step; where a
thread of jax asked for the memory and not the main one, a tenth of it remained.
"""

from __future__ import annotations

import ctypes
import sys

import jax

# malloc.h; mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """From now on freed memory stays with this process, for its next step. False where malloc is not glibc's."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and mallopt(_M_TRIM_THRESHOLD, -1) == 1 and mallopt(_M_MMAP_MAX, 0) == 1


def compute_in_calling_thread() -> None:
    """From now on a CPU computes in the thread that asks, whose memory glibc keeps; in vain once jax has devices.

    Threads of jax have areas of 64 MB, beside which each step's gigabyte is mapped and unmapped. A training waits for
    its steps in any case; images are decoded by other threads.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)
