# SPDX-License-Identifier: Apache-2.0
"""What a step computes, counted in its traced program."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from adaptface_jax.distributed.mesh import make_mesh, sharding, spec
from adaptface_jax.distributed.peaks import bfloat16_peak
from adaptface_jax.models.kernels.feed_forward import Form, feed_forward
from adaptface_jax.training.arithmetic import flops

M, K, N, TIMES = 6, 8, 8, 5
ONE = 2 * M * K * N
A, B = jnp.ones((M, K)), jnp.ones((K, N))


def counted(function, *arguments):
    return flops(jax.jit(function).trace(*arguments).jaxpr)


def repeated(a, b):
    return jax.lax.scan(lambda x, _: (jnp.tanh(x @ b), None), a, length=TIMES)[0]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda a, b: a @ b, ONE),
        (lambda a, b: jnp.einsum("mk,kn->nm", a, b), ONE),
        (repeated, TIMES * ONE),
        (jax.grad(lambda a, b: repeated(a, b).sum(), argnums=(0, 1)), 3 * TIMES * ONE),
        (jax.checkpoint(repeated), TIMES * ONE),
        (jax.vmap(lambda row, b: row @ b, in_axes=(0, None)), ONE),
        (lambda a, b: jax.lax.cond(a[0, 0] > 0, lambda: a @ b, lambda: a[:, :N]), ONE),
        (lambda a, b: jnp.sin(a) + b[0], 0),
        (lambda a, b: jax.lax.conv(a[None, None], b[None, None, :3, :3], (1, 1), "VALID"), 2 * 9 * (M - 2) * (K - 2)),
    ],
)
def test_products_are_counted_as_often_as_they_run(function, expected):
    assert counted(function, A, B) == expected


def test_what_every_device_does_counts_once_for_each():
    mesh = make_mesh(jax.devices()[:2])
    split = jax.shard_map(lambda a, b: a @ b, mesh=mesh, in_specs=(spec("batch"), spec()), out_specs=spec("batch"))
    assert counted(split, jax.device_put(A, sharding(mesh, "batch")), B) == ONE


@pytest.mark.parametrize("form", [Form("gelu", interpret=True), Form("gelu", hopper=True)], ids=["triton", "hopper"])
def test_a_kernel_counts_as_what_it_computes_in_all_programs(form):
    rows, width, hidden = 256, 64, 128
    n, w1, w2 = (jnp.ones(shape, jnp.bfloat16) for shape in ((rows, width), (width, hidden), (hidden, width)))
    gradient = jax.grad(lambda n: feed_forward(form, n, w1, jnp.ones(hidden, n.dtype), w2).sum())
    assert counted(gradient, n) == 4 * 2 * rows * width * hidden  # two products and their gradients, one in a kernel


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-40GB", 312e12),
        ("TPU v5 lite", 197e12),
        ("cpu", None),
    ],
)
def test_peaks_are_known_by_the_name_of_the_device(device, expected):
    assert bfloat16_peak(device) == expected
