"""What the compiler is told for some models, where it understands it."""

from __future__ import annotations

import functools

import jax

CompilerOptions = dict[str, str]


def convolution_options() -> CompilerOptions | None:
    """For networks of convolutions on a CPU; None elsewhere, and where the compiler does not know the option.

    XLA for CPUs gives convolutions to a library (YNNPACK) that takes 64 channels on one core alone: with sums only left
    to it, a step of the residual network takes 3.5 s in place of 4.5 on two cores.
    """
    return _left_to_library("LIBRARY_FUSION_TYPE_REDUCE")


def transformer_options() -> CompilerOptions | None:
    """For the passes of a vision transformer on a CPU, in training or alone; None as above.

    The library's fusions of norms, GELU and sums with products run below the plain products on an Intel Xeon with
    AVX-512 (4.3 s a step, 3.95 without them) and level with them on an AMD EPYC with AVX2 (1.01 and 1.02x), where a
    pass alone takes 1.2x the time with them.
    """
    return _left_to_library("")


@functools.cache
def _left_to_library(kinds: str) -> CompilerOptions | None:
    if jax.default_backend() != "cpu":
        return None
    options = {"xla_cpu_experimental_ynn_fusion_type": kinds}
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except Exception:  # the flag is an experimental one: other versions may not have it
        return None
    return options
