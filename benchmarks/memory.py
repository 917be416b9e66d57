# SPDX-License-Identifier: Apache-2.0
"""What a measuring process occupies."""

from __future__ import annotations

from pathlib import Path


def resident(name: str) -> int:
    """Bytes, now (VmRSS) or at most so far (VmHWM).

    `getrusage` would include what the process had before it became this program.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.split(f"{name}:")[1].split()[0])
