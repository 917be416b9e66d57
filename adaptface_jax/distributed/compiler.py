# SPDX-License-Identifier: Apache-2.0
"""Compiler options for some models, if the compiler supports them."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from adaptface_jax.core import processors
from adaptface_jax.distributed.devices import is_hopper

CompilerOptions = dict[str, str | bool | int]
_Options = tuple[tuple[str, str | bool | int], ...]


def convolution_options() -> CompilerOptions | None:
    """For networks of convolutions on a CPU; None elsewhere, and if the compiler does not know the option.

    XLA for CPUs delegates convolutions to a library (YNNPACK) that runs 64 channels on a single core: with only sums
    delegated to it, a step of the residual network takes 3.5 s instead of 4.5 on two cores.
    """
    return _left_to_library("LIBRARY_FUSION_TYPE_REDUCE")


def transformer_options(dtype: jax.typing.DTypeLike = jnp.float32) -> CompilerOptions | None:
    """For the passes of a vision transformer, in training or inference; None if nothing is known to be better.

    dtype: of its tokens.

    On Hopper GPUs, products of bfloat16 are cuBLAS', and of XLA's own forms of a fusion none is timed: a step of LoRA
    is as fast (23.0 ms on an H200, 22.8 to 23.2 with the fastest of all that XLA can time) and compiles in 20 s beside
    four other programs on 16 cores; looking for the fastest, none was ready after 105 s.

    On a CPU, the library's fusions of norms, GELU and sums with products are slower than plain products on an Intel
    Xeon with AVX-512 (4.3 s per step, 3.95 without them) and equal on an AMD EPYC with AVX2 (1.01 and 1.02x), where an
    inference pass takes 1.2x the time with them.

    With AVX-512, XLA's own products lose an eighth when two cores share them, and its loops use half of a vector. Left
    to the library one by one and with whole vectors, LoRA's step takes 1.14 s, not 1.23 (two cores of an AMD EPYC,
    medians of four starts; with whole vectors alone 1.19).

    Where the processor multiplies bfloat16, so does the library, with AVX-512 (on that EPYC LoRA's step processes 23.7
    images/s) and with AMX (not timed since); otherwise such products are widened to float32 (13.7). Not so beside
    oneDNN, which XLA can use too: with it most are widened (14.7).
    """
    bfloat16 = jnp.dtype(dtype) == jnp.bfloat16
    if is_hopper(jax.devices()[0]):
        return _without_search() if bfloat16 else None
    has = processors.flags()
    wide = (("xla_cpu_prefer_vector_width", 512),) if "avx512f" in has else ()
    faster = {"avx512_bf16", "amx_bf16"} if bfloat16 else {"avx512f"}
    return _left_to_library("" if has.isdisjoint(faster) else "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT", wide)


def _left_to_library(kinds: str, others: _Options = ()) -> CompilerOptions | None:
    return _known((("xla_cpu_experimental_ynn_fusion_type", kinds), *others))


def _without_search() -> CompilerOptions | None:
    names = ("xla_gpu_enable_triton_gemm", "xla_gpu_experimental_enable_fusion_autotuner")
    found = [_known(((name, False),), "gpu") for name in names]  # each by itself: they come and go
    return {name: value for options in found if options for name, value in options.items()} or None


def untuned_options(platform: str) -> CompilerOptions | None:
    """For a program on a GPU that runs once: its kernels are the compiler's guess, without timing; None elsewhere."""
    return _known((("xla_gpu_autotune_level", 0),), platform) if platform == "gpu" else None


@functools.cache
def _known(options: _Options, platform: str = "cpu") -> CompilerOptions | None:
    """The options for this platform; None elsewhere, and if the compiler does not know them."""
    if jax.default_backend() != platform:
        return None
    try:
        jax.jit(lambda: 0, compiler_options=dict(options)).lower().compile()
    except Exception:  # the flags are experimental: other versions may not have them
        return None
    return dict(options)
