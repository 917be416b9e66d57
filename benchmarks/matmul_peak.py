"""The peak throughput of this device: square bfloat16 products with float32 sums, in sequence, by jax."""

from __future__ import annotations

import dataclasses
import time

import jax
import jax.numpy as jnp
from serving import Ready, serve


@dataclasses.dataclass(frozen=True)
class Squares:
    """Products of `size` x `size` matrices, `chain` of them in a step."""

    variant: str = "matmul_peak"
    size: int = 8192
    chain: int = 16


def build(problem: Squares) -> Ready:
    shape = (problem.size, problem.size)
    first = jax.random.normal(jax.random.key(0), shape, jnp.bfloat16)
    # Orthogonal rows on average: magnitudes stay the same from product to product.
    second = jax.random.normal(jax.random.key(1), shape, jnp.bfloat16) / jnp.bfloat16(problem.size**0.5)

    def chained(x: jax.Array, y: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, problem.chain, lambda _, x: x @ y, x)

    start = time.perf_counter()
    compiled = jax.jit(chained).lower(first, second).compile()
    compile_seconds = time.perf_counter() - start

    def run(steps: int) -> float:
        start = time.perf_counter()
        for _ in range(steps):
            out = compiled(first, second)
        jax.block_until_ready(out)
        return time.perf_counter() - start

    run(1)
    facts = {
        "compile_seconds": compile_seconds,
        "flops": 2.0 * problem.size**3 * problem.chain,
        "device": jax.devices()[0].device_kind,
        "versions": {"jax": jax.__version__},
    }
    return Ready(run, lambda: None, facts)


if __name__ == "__main__":
    serve(build, Squares)
