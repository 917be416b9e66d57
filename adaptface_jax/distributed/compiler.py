"""Compiler options for some models, if the compiler supports them."""

from __future__ import annotations

import functools

import jax

CompilerOptions = dict[str, str]


def convolution_options() -> CompilerOptions | None:
    """For networks of convolutions on a CPU; None elsewhere, and if the compiler does not know the option.

    XLA for CPUs delegates convolutions to a library (YNNPACK) that runs 64 channels on a single core: with only sums
    delegated to it, a step of the residual network takes 3.5 s instead of 4.5 on two cores.
    """
    return _left_to_library("LIBRARY_FUSION_TYPE_REDUCE")


def transformer_options() -> CompilerOptions | None:
    """For the passes of a vision transformer on a CPU, in training or inference; None as above.

    The library's fusions of norms, GELU and sums with products are slower than plain products on an Intel Xeon with
    AVX-512 (4.3 s per step, 3.95 without them) and equal on an AMD EPYC with AVX2 (1.01 and 1.02x), where an inference
    pass takes 1.2x the time with them.
    """
    return _left_to_library("")


@functools.cache
def _left_to_library(kinds: str) -> CompilerOptions | None:
    if jax.default_backend() != "cpu":
        return None
    options = {"xla_cpu_experimental_ynn_fusion_type": kinds}
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except Exception:  # the flag is experimental: other versions may not have it
        return None
    return options
