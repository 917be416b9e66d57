# SPDX-License-Identifier: Apache-2.0
"""Compiler options of transformers: each only where the processor has its instructions, and all are accepted."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.distributed import compiler
from tests.made_processors import FLAGS, pretend


@pytest.fixture(params=FLAGS)
def processor(request, monkeypatch):
    pretend(request.param, monkeypatch)
    return request.param


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_they_are_accepted_and_change_no_product(dtype, processor):
    options = compiler.transformer_options(dtype)
    assert options is not None
    a, b = (jnp.asarray(np.random.default_rng(i).normal(size=(64, 64)), dtype) for i in range(2))
    found = jax.jit(jnp.matmul, compiler_options=options)(a, b)
    np.testing.assert_allclose(
        found.astype(jnp.float32),
        np.float32(a) @ np.float32(b),
        rtol=2e-2 if dtype == jnp.bfloat16 else 1e-5,
        atol=0.2 if dtype == jnp.bfloat16 else 1e-5,
    )


def test_products_are_left_to_the_library_where_the_processor_is_faster_so(processor):
    library, vectors = "xla_cpu_experimental_ynn_fusion_type", "xla_cpu_prefer_vector_width"
    wide = {} if processor in ("avx2", "other") else {vectors: 512}
    plain = {library: ""} | wide
    products = {library: "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"} | wide
    assert compiler.transformer_options(jnp.float32) == (products if wide else plain)
    multiplied = processor in ("avx512_bf16", "amx")  # elsewhere products of bfloat16 are widened
    assert compiler.transformer_options(jnp.bfloat16) == (products if multiplied else plain)


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
