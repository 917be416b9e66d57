# SPDX-License-Identifier: Apache-2.0
"""Compiler options of transformers: those of bfloat16 only where the processor multiplies it, and all are accepted."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.core import processors
from adaptface_jax.distributed import compiler


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("has", [False, True])
def test_they_are_accepted_and_change_no_product(dtype, has, monkeypatch):
    monkeypatch.setattr(compiler, "processor_multiplies_bfloat16", lambda: has)
    options = compiler.transformer_options(dtype)
    a, b = (jnp.asarray(np.random.default_rng(i).normal(size=(64, 64)), dtype) for i in range(2))
    found = jax.jit(jnp.matmul, compiler_options=options)(a, b)
    np.testing.assert_allclose(
        found.astype(jnp.float32),
        np.float32(a) @ np.float32(b),
        rtol=2e-2 if dtype == jnp.bfloat16 else 1e-5,
        atol=0.2 if dtype == jnp.bfloat16 else 1e-5,
    )


def test_only_bfloat16_on_a_processor_that_multiplies_it_is_left_to_other_libraries(monkeypatch):
    monkeypatch.setattr(compiler, "_by_library_and_onednn", lambda: {"other": True})
    monkeypatch.setattr(compiler, "processor_multiplies_bfloat16", lambda: True)
    assert compiler.transformer_options(jnp.bfloat16) == {"other": True}
    assert compiler.transformer_options(jnp.float32) != {"other": True}
    monkeypatch.setattr(compiler, "processor_multiplies_bfloat16", lambda: False)
    assert compiler.transformer_options(jnp.bfloat16) == compiler.transformer_options(jnp.float32)


def test_on_a_hopper_gpu_nothing_is_searched_for_that_was_found_not_to_be_faster(monkeypatch):
    asked = []

    def known(options, platform):
        asked.append((*options, platform))
        return None if "fusion" in options[0][0] else dict(options)

    monkeypatch.setattr(compiler, "_known", known)
    monkeypatch.setattr(compiler, "is_hopper", lambda _: True)
    assert compiler.transformer_options(jnp.float32) is None
    assert compiler.transformer_options(jnp.bfloat16) == {"xla_gpu_enable_triton_gemm": False}
    assert asked == [
        (("xla_gpu_enable_triton_gemm", False), "gpu"),
        (("xla_gpu_experimental_enable_fusion_autotuner", False), "gpu"),
    ]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx2 fma", False), ("avx512f avx512_bf16", True), ("avx512f amx_bf16 amx_tile", True), (None, False)],
)
def test_what_linux_tells_of_the_processor(flags, expected, monkeypatch, tmp_path):
    file = tmp_path / "cpuinfo"
    if flags is not None:
        file.write_text(f"processor\t: 0\nmodel name\t: made\nflags\t\t: {flags}\n")
    monkeypatch.setattr(processors, "CPUINFO", file)
    compiler.processor_multiplies_bfloat16.cache_clear()
    try:
        assert compiler.processor_multiplies_bfloat16() is expected
    finally:
        compiler.processor_multiplies_bfloat16.cache_clear()
