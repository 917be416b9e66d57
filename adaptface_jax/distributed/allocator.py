# SPDX-License-Identifier: Apache-2.0
"""Memory of computations on the CPU: kept between steps instead of reallocated.

A step on the CPU allocates gigabytes, and glibc returns them to the system when they are freed: at the next step the
kernel maps them again, page by page and zeroed. That was a quarter of the processor time of a ViT-S step; if a thread
of jax allocated the memory instead of the main one, a tenth of it remained.

Other threads have arenas of several heaps of at most 64 MB; glibc unmaps a heap that is empty, whatever the threshold,
unless more than the heap is to be kept as padding. In some starts of a bfloat16 step, the library of products emptied
one in every product: 160,000 pages a step, a fifth of its time.
"""

from __future__ import annotations

import ctypes
import sys

import jax

# malloc.h; mallopt(3).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_HEAP = 64 << 20  # of a thread's arena, bytes; HEAP_MAX_SIZE of glibc's arena.c, whose heap_trim compares with it


def keep_freed_memory() -> bool:
    """From now on this process keeps freed memory for its next step. False if malloc is not glibc's."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    wanted = ((_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, 2 * _HEAP), (_M_MMAP_MAX, 0))
    return all(mallopt(*each) == 1 for each in wanted)


def compute_in_calling_thread() -> None:
    """From now on a CPU computes in the calling thread, whose memory glibc keeps; no effect once jax has devices.

    Threads of jax have arenas of 64 MB, outside of which each step's gigabyte is mapped and unmapped. A training waits
    for its steps in any case; images are decoded by other threads.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)
