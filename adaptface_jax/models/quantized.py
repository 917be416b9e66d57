"""Frozen kernels in 8 bits: int8 levels and one float32 scale for each output channel, symmetric around zero.

Sources: LLM.int8() (arXiv 2208.07339) for the form, QLoRA (arXiv 2305.14314) for an exact low-rank update on top.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adaptface_jax.core import trees

LEVELS = 127  # on each side of zero: -128 is unused, for symmetry
SCALE = "kernel_scale"  # the leaf next to a `kernel` of levels


def quantize(kernel: Any) -> tuple[Any, Any]:
    """kernel float32 [..., in, out] -> (levels int8 [..., in, out], scale float32 [..., out]).

    The scale is a channel's largest weight / 127, and `levels * scale` is within half of it of the kernel. NumPy
    arrays give NumPy arrays, JAX arrays give JAX arrays.
    """
    xp = kernel.__array_namespace__()
    scale = xp.maximum(xp.max(kernel, axis=-2), -xp.min(kernel, axis=-2)).astype("float32") / LEVELS
    levels = xp.rint(kernel / xp.where(scale > 0, scale, 1)[..., None, :])
    return xp.clip(levels, -LEVELS, LEVELS).astype("int8"), scale


def dequantize(levels: Any, scale: Any, dtype: Any) -> Any:
    """The kernel in the dtype of the computation, rounded once."""
    return (levels.astype("float32") * scale[..., None, :]).astype(dtype)


def with_quantized_blocks(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """The backbone's tree with the kernels of its blocks in 8 bits.

    Before: blocks/attn/qkv/kernel float32 [L, D, 3D]. After: blocks/attn/qkv/kernel int8 [L, D, 3D], and
    blocks/attn/qkv/kernel_scale float32 [L, 3D].
    """
    flat: dict[str, Any] = {}
    for path, leaf in trees.flatten(backbone).items():
        flat[path] = leaf
        if path.startswith("blocks/") and path.endswith("/kernel"):
            flat[path], flat[path.removesuffix("kernel") + SCALE] = quantize(leaf)
    return trees.unflatten(flat)


def is_scale(path: str) -> bool:
    """Whether the leaf at this path is part of how a parameter is stored, and not a parameter itself."""
    return path.endswith(f"/{SCALE}")
