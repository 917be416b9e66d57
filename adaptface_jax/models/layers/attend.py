# SPDX-License-Identifier: Apache-2.0
"""Implementations of softmax(q k' / sqrt(d)) v, equal up to rounding, and the choice for a machine.

All take q, k, v [B, T, heads, d] and return [B, T, heads, d], of which the policy of `remat` keeps what the backward
pass needs. Scores and softmax are float32, as inside cuDNN's kernels.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from adaptface_jax.core.errors import InputError
from adaptface_jax.distributed.devices import capability, is_hopper
from adaptface_jax.models.layers.attend_each import attend_each
from adaptface_jax.models.layers.remat import kept

Attend = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def attend_whole(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Written out, over all images at once: for compilers that fuse it, for meshes and for exported graphs."""
    # Heads before tokens, otherwise the backward pass transposes every score matrix.
    q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))
    # Written as products over (batch, heads), so that exported graphs have no einsum.
    over_features = (((3,), (3,)), ((0, 1), (0, 1)))
    scores = jax.lax.dot_general(q, k, over_features, preferred_element_type=jnp.float32) / math.sqrt(q.shape[-1])
    return kept((jax.nn.softmax(scores, axis=-1).astype(v.dtype) @ v).swapaxes(1, 2))


def attend_cudnn(
    q: jax.Array, k: jax.Array, v: jax.Array, implementation: Literal["cudnn", "xla"] = "cudnn"
) -> jax.Array:
    """`jax.nn.dot_product_attention`: flash attention (arXiv 2205.14135) of cuDNN, without scores in memory.

    Tokens are padded to a multiple of 8 (257 to 264); the padding is masked, so nothing changes.
    """
    batch, tokens = q.shape[:2]
    padding = -tokens % ALIGNED
    lengths = None
    if padding:
        q, k, v = (jnp.pad(x, ((0, 0), (0, padding), (0, 0), (0, 0))) for x in (q, k, v))
        lengths = jnp.full((batch,), tokens, jnp.int32)
    y = jax.nn.dot_product_attention(
        q, k, v, query_seq_lengths=lengths, key_value_seq_lengths=lengths, implementation=implementation
    )
    return y[:, :tokens]


ALIGNED = 8  # tokens, the alignment of the kernels' loads
AUTO, FUSED = "auto", "fused"
# With `fused`, whole blocks are computed by kernels (`models.fused`) wherever they can be.
ATTEND: dict[str, Attend] = {"whole": attend_whole, "each": attend_each, "cudnn": attend_cudnn, FUSED: attend_cudnn}


def chosen(name: str, head_dim: int, dtype: jax.typing.DTypeLike, unfit: str = "") -> str:
    """`name`, or for `auto` the fastest on this machine: a name in ATTEND.

    unfit: why `models.fused` cannot compute the model's blocks, "" if it can. fused: on NVIDIA GPUs; `auto` only of
    compute capability 9, where it was measured.
    cudnn: on NVIDIA GPUs of compute capability 8.0 or more, in bfloat16 or float16, for heads of at most 128 features,
    a multiple of 8. each: on one CPU device, whose cache holds the scores of one image. whole: elsewhere.
    Raises InputError if cudnn or fused is requested and not available.
    """
    device = jax.devices()[0]
    reason = _no_flash(device, head_dim, dtype) if name in ("cudnn", FUSED) else ""
    if name == FUSED:
        reason = reason or unfit or _no_kernels(head_dim)
    if reason:
        raise InputError(f"backbone.attention: {name} is not available here: {reason}; set it to auto")
    if name != AUTO:
        return name
    if device.platform == "cpu":
        return "each" if jax.device_count() == 1 else "whole"
    if _no_flash(device, head_dim, dtype):
        return "whole"
    return "cudnn" if unfit or _no_kernels(head_dim) or not is_hopper(device) else FUSED


def _no_flash(device: jax.Device, head_dim: int, dtype: jax.typing.DTypeLike) -> str:
    """Why cuDNN's kernels cannot run, "" if they can."""
    if device.platform != "gpu" or "cuda" not in device.client.platform_version:
        return f"the device is {device.device_kind}, not an NVIDIA GPU"
    if capability(device) < 8:
        return f"the compute capability of {device.device_kind} is {device.compute_capability}, and 8.0 is needed"
    if jnp.dtype(dtype) not in (jnp.bfloat16, jnp.float16):
        return f"backbone.dtype is {jnp.dtype(dtype).name}, and bfloat16 is needed"
    if head_dim > 128 or head_dim % 8:
        return f"its heads have {head_dim} features, and at most 128 and a multiple of 8 are needed"
    return ""


def _no_kernels(head_dim: int) -> str:
    """Why the kernels of `models.fused` cannot run, "" if they can."""
    if importlib.util.find_spec("jax.experimental.pallas.triton") is None:
        return f"jax {jax.__version__} no longer has the compiler of their kernels"
    return "" if head_dim == 64 else f"its heads have {head_dim} features, and 64 are needed"
