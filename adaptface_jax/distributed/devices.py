# SPDX-License-Identifier: Apache-2.0
"""What kind of device computes."""

from __future__ import annotations

import jax


def capability(device: jax.Device) -> int:
    """The first number of an NVIDIA GPU's compute capability; 0 of any other device."""
    first = str(device.compute_capability).partition(".")[0] if device.platform == "gpu" else ""
    return int(first) if first.isdecimal() else 0  # AMD's have names


def is_hopper(device: jax.Device) -> bool:
    """Whether it is an NVIDIA GPU such as the H100 and the H200, which the kernels were measured on."""
    return capability(device) == 9
