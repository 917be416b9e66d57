"""Memory of a computation on the CPU: kept between steps instead of asked for anew.

A step on the CPU allocates gigabytes, and glibc returns them to the system when they are freed: at the next step the
kernel hands them out again, page by page and zeroed. That was a quarter of the processor time of a ViT-S step.
"""

from __future__ import annotations

import ctypes
import sys

# malloc.h; mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """From now on freed memory stays with this process, for its next step. False where malloc is not glibc's."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and mallopt(_M_TRIM_THRESHOLD, -1) == 1 and mallopt(_M_MMAP_MAX, 0) == 1
