"""The peak performance of accelerators, from the manufacturers' data sheets."""

from __future__ import annotations

# Part of `device_kind` -> bfloat16 operations per second with float32 sums, without sparsity. The first match counts.
PEAKS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "A10G": 70e12,
    "A10": 125e12,
    "L40S": 362e12,
    "L4": 121e12,
    "RTX 4090": 165e12,
    "TPU v6": 918e12,
    "TPU v5p": 459e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v4": 275e12,
}


def bfloat16_peak(device_kind: str) -> float | None:
    """Operations per second of a device, None if unknown."""
    return next((peak for name, peak in PEAKS.items() if name.lower() in device_kind.lower()), None)
